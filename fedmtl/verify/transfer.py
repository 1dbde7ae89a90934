"""Transfer: pre-training as FedPer on the sources, then a trunk that keeps its bits."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.fedper import FedPer
from fedmtl.verify.beats_local import ROUNDS, Claim, steps
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.quadratic import Array, clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def pretraining_is_fedper_on_the_sources(transfer: Callable[..., Any]) -> CheckResult:
    """Clients 0 and 1 are sources: after 3 rounds of 2 epochs of 2 steps they have the bits of FedPer without client 2,
    and client 2 has their trunk."""
    found = play(transfer(lr=0.125, epochs=2, sources=(0, 1), pretrain=3), clients(), START, 3, steps=2).personal
    alone = play(FedPer(lr=0.125, epochs=2), clients()[:2], START, 3, steps=2).personal
    return every(same_bits(found[:2], alone), same_bits(found[2, :3], alone[0, :3]))


def the_frozen_trunk_keeps_its_bits(transfer: Callable[..., Any]) -> CheckResult:
    """In 6 rounds with pretrain 2 the trunk moves in two: the first three predictions differ, start included, and from
    the second round on all clients' trunks have its bits."""
    seen: list[Array] = [np.stack([START] * 3)]
    play(transfer(lr=0.125, epochs=2, sources=(0, 1), pretrain=2), clients(), START, 6, watch=seen.append)
    trunks = [each[:, :3].copy() for each in seen]
    moved = [int((before != after).any()) for before, after in zip(trunks, trunks[1:], strict=False)]
    return every(close(moved, [1, 1, 0, 0, 0, 0], atol=0), *(same_bits(later, trunks[2]) for later in trunks[3:]))


def a_target_sends_the_trunk_that_it_received(transfer: Callable[..., Any]) -> CheckResult:
    """In the first round client 2, no source, uploads START's trunk bit for bit; the sources do not."""
    found = play(transfer(lr=0.125, epochs=2, sources=(0, 1), pretrain=2), clients(), START, 1)
    sent = [upload.payload["trunk"]["trunk.w"].numpy() for _, upload in found.uploads]
    return every(
        close([float((one != START[:3]).any()) for one in sent], [1, 1, 0], atol=0), same_bits(sent[2], START[:3])
    )


def heads_end_at_their_optimum_for_the_trunk(transfer: Callable[..., Any]) -> CheckResult:
    """After one round of pre-training θ stands still, and 30 rounds of 5 steps of ¼ leave (7/8)^150 < 1e-8 of the gap
    to H_φφ (φ − φ*) + H_φθ (θ − θ*) = 0, for sources and targets alike."""
    federation = clients()
    found = play(transfer(lr=0.25, epochs=5, sources=(1,), pretrain=1), federation, START, 31).personal
    best = [
        np.linalg.solve(c.hessian[3:, 3:], c.hessian[3:] @ c.star - c.hessian[3:, :3] @ w[:3])
        for c, w in zip(federation, found, strict=True)
    ]
    return close(found[:, 3:], np.stack(best), atol=1e-7)


def a_targets_head_by_hand(transfer: Callable[..., Any]) -> CheckResult:
    """Client 2, no source, takes 2 epochs of 2 steps φ − η (H (w − w*))_φ with θ held at START's."""
    federation, lr = clients(), 0.125
    found = play(transfer(lr=lr, epochs=2, sources=(0,), pretrain=2), federation, START, 1, steps=2).personal
    w = START.copy()
    for _ in range(4):
        w[3:] -= lr * federation[2].gradient(w)[3:]
    return close(found[2, 3:], w[3:], atol=1e-12)


CHECKS = (
    pretraining_is_fedper_on_the_sources,
    the_frozen_trunk_keeps_its_bits,
    a_target_sends_the_trunk_that_it_received,
    heads_end_at_their_optimum_for_the_trunk,
    a_targets_head_by_hand,
)

GAIN = Claim(one_subspace, steps(lr=0.05, sources=tuple(range(12)), pretrain=ROUNDS), rounds=50)
