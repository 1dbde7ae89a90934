"""Ditto against FedAvg, Local and closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.local import Local
from fedmtl.verify.batch_norm import own
from fedmtl.verify.beats_local import EPOCHS, Claim, steps
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.penalty_gradient import LR, Penalty
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import clients, play, vector, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def the_shared_model_is_fedavg(ditto: Callable[..., Any]) -> CheckResult:
    """(1) and (4) do not see v: for λ of 0 and of 2, the server's model has the bits of FedAvg's after 3 rounds."""
    expected = vector(play(FedAvg(lr=0.125, epochs=2), clients(), START, 3, steps=2).server)
    parts = [
        vector(play(ditto(lr=0.125, epochs=2, personal_epochs=3, lam=lam), clients(), START, 3, steps=2).server)
        for lam in (0.0, 2.0)
    ]
    return every(*(same_bits(part, expected) for part in parts))


def without_a_pull_it_is_local(ditto: Callable[..., Any]) -> CheckResult:
    """λ = 0: h_k is f_k, so what clients predict with after 3 rounds of 2 personal epochs has Local's bits."""
    found = play(ditto(lr=0.125, epochs=3, personal_epochs=2, lam=0.0), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(Local(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def personal_models_stop_at_the_proximal_point(ditto: Callable[..., Any]) -> CheckResult:
    """H(v − v*) + λ(v − w) = 0: v_k = (H + λI)⁻¹(Hv* + λw), where v* = w*_k is the client's own optimum.

    w of the second round is known: START − η Σ p_k g_k(START), after one step of all. The slowest direction contracts
    to 1 − 0.25 (0.5 + λ) = 0.7 a step: 80 personal steps leave 1e-12.
    """
    federation, lam = clients(), 0.7
    found = play(ditto(lr=0.25, epochs=1, personal_epochs=80, lam=lam), federation, START, 2)
    w = START - 0.25 * weights(federation) @ np.stack([one.gradient(START) for one in federation])
    points = [np.linalg.solve(c.hessian + lam * np.eye(5), c.hessian @ c.star + lam * w) for c in federation]
    return close(found.personal, np.stack(points), atol=1e-9)


def rounds_by_hand(ditto: Callable[..., Any]) -> CheckResult:
    """3 rounds in numpy: w_k takes 2 steps from the received w, v_k 4 steps from its own last v_k, pulled to that w."""
    federation, lr, lam = clients(), 0.125, 0.7
    found = play(ditto(lr=lr, epochs=1, personal_epochs=2, lam=lam), federation, START, 3, steps=2)
    shared, personal = START, [START] * 3
    for _ in range(3):
        ends = []
        for k, one in enumerate(federation):
            w = shared
            for _ in range(2):
                w = w - lr * one.gradient(w)
            for _ in range(4):
                personal[k] = personal[k] - lr * (one.gradient(personal[k]) + lam * (personal[k] - shared))
            ends.append(w)
        shared = weights(federation) @ np.stack(ends)
    return every(close(vector(found.server), shared, atol=1e-12), close(found.personal, np.stack(personal), atol=1e-12))


def running_statistics_are_not_pulled(ditto: Callable[..., Any]) -> CheckResult:
    """The penalty of λ = 0.8 is on parameters alone: v's statistics of BatchNorm are those of the client's own inputs,
    of two passes a round."""
    return own(ditto(lr=0.1, epochs=1, personal_epochs=2, lam=0.8), passes=2)


CHECKS = (
    the_shared_model_is_fedavg,
    without_a_pull_it_is_local,
    personal_models_stop_at_the_proximal_point,
    rounds_by_hand,
    running_statistics_are_not_pulled,
)

GAIN = Claim(one_mean, steps(personal_epochs=EPOCHS, lam=1.0))

# w stays at the start: three flat batches leave (1 − ηλ)³ of v.
PENALTY = Penalty(lambda cls: cls(lr=LR, epochs=1, personal_epochs=1, lam=0.8), 0.9**3, 0.9**3)
