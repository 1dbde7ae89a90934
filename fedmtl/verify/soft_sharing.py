"""SoftSharing against its two limits and the exact minimum between them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.fedper import FedPer
from fedmtl.algorithms.local import Local
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, close, same_bits
from fedmtl.verify.penalty_gradient import LR, Penalty
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import clients, play, vector, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def without_a_pull_it_is_local(soft: Callable[..., Any]) -> CheckResult:
    """Pull 0: (2) is θ_k, so 3 rounds of 2 epochs of 2 steps have Local's bits."""
    found = play(soft(lr=0.125, epochs=2, pull=0.0), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(Local(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def with_an_infinite_pull_it_is_fedper(soft: Callable[..., Any]) -> CheckResult:
    """Pull 1e30: pull / (1 + pull) is 1 in float64 and (2) is θ̄, so 3 rounds have FedPer's bits."""
    found = play(soft(lr=0.125, epochs=2, pull=1e30), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(FedPer(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def rounds_by_hand(soft: Callable[..., Any]) -> CheckResult:
    """Three rounds with pull 3: a client begins at θ_k/4 + 3θ̄/4, takes 2 epochs of 2 steps w − η H (w − w*), and the
    server takes Σ p_k θ_k. What it predicts with is mixed once more."""
    federation, lr, pull = clients(), 0.125, 3.0
    found = play(soft(lr=lr, epochs=2, pull=pull), federation, START, 3, steps=2)
    w, mean = np.stack([START] * 3), START[:3]
    for _ in range(3):
        w[:, :3] = (w[:, :3] + pull * mean) / (1 + pull)
        for _ in range(4):
            w = w - lr * np.stack([one.gradient(own) for one, own in zip(federation, w, strict=True)])
        mean = weights(federation) @ w[:, :3]
    w[:, :3] = (w[:, :3] + pull * mean) / (1 + pull)
    return close(found.personal, w, atol=1e-12)


def it_ends_at_the_minimum_of_the_penalised_sum(soft: Callable[..., Any]) -> CheckResult:
    """J = Σ p_k f_k(θ_k, φ_k) + λ/2 Σ p_k ‖θ_k − Σ p_l θ_l‖² is quadratic: with P = diag(p), C = P − p pᵀ and T that
    picks the trunk, its minimum over w_1, …, w_K solves (blockdiag(p_k H_k) + λ C ⊗ TᵀT) w = (p_k H_k w*_k).

    A round of one full-batch step with pull = η λ is a step of proximal gradient descent on J: with η ¼ and the least
    curvature ½ it contracts by 7/8, so 250 rounds leave less than 1e-13.
    """
    federation, lr, lam = clients(), 0.25, 0.8
    found = play(soft(lr=lr, epochs=1, pull=lr * lam), federation, START, 250)
    share, trunk = weights(federation), np.diag([1.0, 1, 1, 0, 0])
    left = lam * np.kron(np.diag(share) - np.outer(share, share), trunk)
    for k, one in enumerate(federation):
        left[5 * k : 5 * k + 5, 5 * k : 5 * k + 5] += share[k] * one.hessian
    right = np.concatenate([p * one.hessian @ one.star for p, one in zip(share, federation, strict=True)])
    return close(found.personal, np.linalg.solve(left, right).reshape(3, 5), atol=1e-10)


def trunks_alone_travel(soft: Callable[..., Any]) -> CheckResult:
    """3 of a client's 5 numbers go up, and 3 come down, before the first round and after it: those of trunk.w [3]."""
    travelled = []
    for count in (0, 1):
        algorithm = soft(epochs=1, pull=1.0)
        found = play(algorithm, clients(), START, count)
        payloads = [algorithm.broadcast(found.server, 0, CTX), *(upload.payload for _, upload in found.uploads)]
        travelled += [vector(record).shape for payload in payloads for record in payload.values()]
    return close(travelled, [(3,)] * 5, atol=0)


CHECKS = (
    without_a_pull_it_is_local,
    with_an_infinite_pull_it_is_fedper,
    rounds_by_hand,
    it_ends_at_the_minimum_of_the_penalised_sum,
    trunks_alone_travel,
)

GAIN = Claim(one_mean, steps(pull=1.0))

# Of θ, 1/(1 + pull) is left where a client begins, and again where it predicts: after the step, in rounds 2 and 3.
PENALTY = Penalty(lambda cls: cls(lr=LR, epochs=1, pull=0.25), 0.8**2, 1.0)
