"""FedProx against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.verify.batch_norm import averaged
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CheckResult, above, close, same_bits
from fedmtl.verify.penalty_gradient import LR, Penalty
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import clients, play, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def without_a_penalty_it_is_fedavg(fedprox: Callable[..., Any]) -> CheckResult:
    """μ = 0: (1) is f_k, so 3 rounds of 2 epochs of 2 steps have FedAvg's bits."""
    found = play(fedprox(lr=0.125, epochs=2, mu=0.0), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(FedAvg(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def clients_stop_at_the_proximal_point(fedprox: Callable[..., Any]) -> CheckResult:
    """Many steps reach the minimum of (1): H(w − w*) + μ(w − w_t) = 0, w_k = (H + μI)⁻¹(Hw* + μw_t).

    The slowest direction contracts by 1 − 0.25 (0.5 + μ) a step: 200 steps leave less than 1e-13. The server's mean of
    these points is compared.
    """
    federation, mu = clients(), 0.7
    found = play(fedprox(lr=0.25, epochs=200, mu=mu), federation, START, 1)
    points = [np.linalg.solve(c.hessian + mu * np.eye(5), c.hessian @ c.star + mu * START) for c in federation]
    return close(found.personal[0], weights(federation) @ np.stack(points), atol=1e-9)


def two_steps_by_hand(fedprox: Callable[..., Any]) -> CheckResult:
    """w¹ = w − ηg(w), w² = w¹ − η(g(w¹) + μ(w¹ − w)): the penalty has a gradient from the second step on."""
    federation, lr, mu = clients(), 0.125, 0.7
    found = play(fedprox(lr=lr, epochs=1, mu=mu), federation, START, 1, steps=2)
    ends = []
    for one in federation:
        w = START - lr * one.gradient(START)
        ends.append(w - lr * (one.gradient(w) + mu * (w - START)))
    return close(found.personal[0], weights(federation) @ np.stack(ends), atol=1e-12)


def the_penalty_pulls(fedprox: Callable[..., Any]) -> CheckResult:
    """A larger μ leaves the model nearer to where it started: by more than a tenth for μ = 1 against 0, 20 steps."""
    far, near = (
        np.linalg.norm(play(fedprox(lr=0.25, epochs=20, mu=mu), clients(), START, 1).personal[0] - START)
        for mu in (0.0, 1.0)
    )
    return above(float(far - near), 0.1)


def running_statistics_are_not_pulled(fedprox: Callable[..., Any]) -> CheckResult:
    """The penalty of μ = 0.8 is on parameters alone: statistics of BatchNorm are FedAvg's, see ``averaged``."""
    return averaged(fedprox(lr=0.1, epochs=1, mu=0.8))


CHECKS = (
    without_a_penalty_it_is_fedavg,
    clients_stop_at_the_proximal_point,
    two_steps_by_hand,
    the_penalty_pulls,
    running_statistics_are_not_pulled,
)

GAIN = Claim(one_mean, steps(mu=0.1))

# Batch 2 leaves 1 − ημ; the one client's model is then the server's, and round 2 begins where it is pulled to.
PENALTY = Penalty(lambda cls: cls(lr=LR, epochs=1, mu=0.8), 0.9, 0.9, clients=1)
