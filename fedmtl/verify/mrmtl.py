"""MR-MTL against linear systems."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.local import Local
from fedmtl.verify.batch_norm import own
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.penalty_gradient import LR, Penalty
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import Quadratic, clients, play, vector

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def without_a_pull_it_is_local(mrmtl: Callable[..., Any]) -> CheckResult:
    """λ = 0: (1) is f_k and every client goes on from its own w_k, so 3 rounds of 2 epochs have Local's bits."""
    found = play(mrmtl(lr=0.125, epochs=2, lam=0.0), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(Local(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def rounds_by_hand(mrmtl: Callable[..., Any]) -> CheckResult:
    """3 rounds of 2 steps w_k <- w_k − η(g_k(w_k) + λ(w_k − w̄)) in numpy, each from where the client's last one ended.

    w̄ is START, then the plain mean of the w_k, though the clients have unlike numbers of examples. Compared are the
    clients' models and the server's.
    """
    federation, lr, lam = clients(), 0.125, 0.7
    found = play(mrmtl(lr=lr, epochs=1, lam=lam), federation, START, 3, steps=2)
    models, mean = np.tile(START, (3, 1)), START
    for _ in range(3):
        for _ in range(2):
            slopes = np.stack([one.gradient(w) for one, w in zip(federation, models, strict=True)])
            models = models - lr * (slopes + lam * (models - mean))
        mean = models.mean(axis=0)
    return every(close(found.personal, models, atol=1e-12), close(vector(found.server), mean, atol=1e-12))


def the_joint_minimum_is_reached(mrmtl: Callable[..., Any]) -> CheckResult:
    """min Σ f_k(w_k) + λ/2 Σ ‖w_k − w̄‖²: H_k w_k + λ(w_k − 1/K Σ_l w_l) = H_k w*_k, one linear system in all w_k.

    Its matrix has eigenvalues of 1/2 to 2.7, and a round of one step of η = 1/2 is a gradient step on the sum: 90
    rounds leave (3/4)⁹⁰ < 1e-11 of the error.
    """
    federation, lam = clients(), 0.7
    found = play(mrmtl(lr=0.5, epochs=1, lam=lam), federation, START, 90)
    count, size = len(federation), len(START)
    system = lam * np.kron(np.eye(count) - np.full((count, count), 1 / count), np.eye(size))
    for k, one in enumerate(federation):
        block = slice(k * size, (k + 1) * size)
        system[block, block] += one.hessian
    right = np.concatenate([one.hessian @ one.star for one in federation])
    return close(found.personal, np.linalg.solve(system, right).reshape(count, size), atol=1e-9)


def round_bowls_meet_on_a_line(mrmtl: Callable[..., Any]) -> CheckResult:
    """H_k = I: w_k − w*_k + λ(w_k − w̄) = 0; the mean over k gives w̄ = 1/K Σ w*_k, and w_k = (w*_k + λw̄)/(1 + λ).

    A step of η = 1/4 leaves 3/4 of the error of w̄, and none of the rest for λ = 3.
    """
    lam, bowls = 3.0, [Quadratic(np.eye(5), one.star, one.num_examples) for one in clients(4)]
    found = play(mrmtl(lr=0.25, epochs=1, lam=lam), bowls, START, 100)
    stars = np.stack([one.star for one in bowls])
    return close(found.personal, (stars + lam * stars.mean(axis=0)) / (1 + lam), atol=1e-9)


def running_statistics_are_not_pulled(mrmtl: Callable[..., Any]) -> CheckResult:
    """The penalty of λ = 0.8 is on parameters alone: statistics of BatchNorm are those of the client's own inputs."""
    return own(mrmtl(lr=0.1, epochs=1, lam=0.8), passes=1)


CHECKS = (
    without_a_pull_it_is_local,
    rounds_by_hand,
    the_joint_minimum_is_reached,
    round_bowls_meet_on_a_line,
    running_statistics_are_not_pulled,
)

GAIN = Claim(one_mean, steps(lam=1.0))

# w̄ stays at the start: three flat batches leave (1 − ηλ)³.
PENALTY = Penalty(lambda cls: cls(lr=LR, epochs=1, lam=0.8), 0.9**3, 0.9**3)
