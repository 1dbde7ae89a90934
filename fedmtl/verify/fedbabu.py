"""FedBABU against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.planted import one_mean_by_features
from fedmtl.verify.quadratic import clients, play, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def rounds_by_hand(fedbabu: Callable[..., Any]) -> CheckResult:
    """Three rounds of 2 trunk epochs and 3 head epochs of 2 steps. θ: 4 steps of H (w − w*) in its own part with φ⁰,
    then Σ p_k θ_k. φ: 6 steps from φ⁰ in its part with the θ that was received in this round."""
    federation, lr = clients(), 0.125
    found = play(fedbabu(lr=lr, epochs=2, finetune_epochs=3), federation, START, 3, steps=2)
    theta, heads = START[:3], []
    for _ in range(3):
        trunks, heads = [], []
        for one in federation:
            w, tuned = np.concatenate([theta, START[3:]]), np.concatenate([theta, START[3:]])
            for _ in range(4):
                w[:3] -= lr * one.gradient(w)[:3]
            for _ in range(6):
                tuned[3:] -= lr * one.gradient(tuned)[3:]
            trunks.append(w[:3])
            heads.append(tuned[3:])
        theta = weights(federation) @ np.stack(trunks)
    return close(found.personal, [np.concatenate([theta, head]) for head in heads], atol=1e-12)


def the_trunk_ends_at_its_minimum_under_the_first_head(fedbabu: Callable[..., Any]) -> CheckResult:
    """One full-batch step a round is gradient descent on Σ p_k f_k(θ, φ⁰) in θ: at its minimum
    Σ p_k (H_θθ (θ − θ*) + H_θφ (φ⁰ − φ*)) = 0. Curvature ≥ ½, η ¼: 250 rounds leave (7/8)^250 < 1e-14."""
    federation = clients()
    found = play(fedbabu(lr=0.25, epochs=1, finetune_epochs=1), federation, START, 250)
    left, right = np.zeros((3, 3)), np.zeros(3)
    for p, one in zip(weights(federation), federation, strict=True):
        rows = p * one.hessian[:3]
        left += rows[:, :3]
        right += rows @ one.star - rows[:, 3:] @ START[3:]
    return close(found.personal[:, :3], np.stack([np.linalg.solve(left, right)] * 3), atol=1e-10)


def the_first_head_is_held(fedbabu: Callable[..., Any]) -> CheckResult:
    """Before the first round a client predicts with START. The head under which the trunk learns keeps its bits through
    3 rounds; and fine-tuning, however long, does not touch the trunk."""
    initial = play(fedbabu(), clients(), START, 0)
    short, long = (play(fedbabu(lr=0.125, epochs=2, finetune_epochs=n), clients(), START, 3) for n in (1, 9))
    firsts = np.stack([short.private[k]["first"]["head.t.b"].numpy() for k in range(3)])
    return every(
        same_bits(initial.personal, np.stack([START] * 3)),
        same_bits(firsts, np.stack([START[3:]] * 3)),
        same_bits(short.personal[:, :3].copy(), long.personal[:, :3].copy()),
    )


def the_tuned_head_is_the_clients_optimum(fedbabu: Callable[..., Any]) -> CheckResult:
    """In the first round the received trunk is the initial one, and 150 steps of ¼ leave (7/8)^150 < 1e-8 of the head's
    gap to its minimum: H_φφ (φ − φ*) + H_φθ (θ⁰ − θ*) = 0."""
    federation = clients()
    found = play(fedbabu(lr=0.25, epochs=1, finetune_epochs=150), federation, START, 1)
    best = [
        np.linalg.solve(c.hessian[3:, 3:], c.hessian[3:] @ c.star - c.hessian[3:, :3] @ START[:3]) for c in federation
    ]
    return close(found.personal[:, 3:], np.stack(best), atol=1e-7)


CHECKS = (
    rounds_by_hand,
    the_trunk_ends_at_its_minimum_under_the_first_head,
    the_first_head_is_held,
    the_tuned_head_is_the_clients_optimum,
)

GAIN = Claim(one_mean_by_features, steps(lr=0.05))
