"""Pooled against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.verify.central import alone, central_vector
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.linear import draw, loss_of, minimum, numbers, params_of, whole
from fedmtl.verify.quadratic import play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def it_ends_at_the_ridge_solution_of_the_union(pooled: Callable[..., Any]) -> CheckResult:
    """Three clients with tasks a, b and both: shared slopes, an offset a task, what others do not label is NaN.

    The union's minimum solves its normal equations, eigenvalues between 0.1 and 1.8: with η ½ 400 steps leave 1.3e-9.
    """
    parts = [(draw(8, ("a",), 0), ("a",)), (draw(20, ("b",), 1), ("b",)), (draw(12, ("a", "b"), 2), ("a", "b"))]
    x = np.concatenate([part[0] for part, _ in parts])
    y = {task: np.concatenate([part[1].get(task, np.full(len(part[0]), np.nan)) for part, _ in parts]) for task in "ab"}
    algorithm = pooled(lr=0.5, epochs=10)
    w = algorithm.init_server(params_of(np.zeros(3), {"a": 0.0, "b": 0.0}), CTX)
    for _ in range(40):
        result = algorithm.local_update(loss_of("ab", 0.1), algorithm.broadcast(w, 0, CTX), None, whole(x, y), CTX)
        w = algorithm.aggregate(w, [(0, result.upload)], CTX)
    got = numbers(algorithm.personal_params(algorithm.broadcast(w, 0, CTX), None))
    return every(*(close(got[name], value, atol=1e-7) for name, value in minimum(x, y, 0.1).items()))


def it_is_fedavg_with_one_client(pooled: Callable[..., Any]) -> CheckResult:
    """For any owner of all the data: 3 rounds of 2 epochs of 2 steps have FedAvg's bits."""
    found = play(pooled(lr=0.125, epochs=2), [alone()], START, 3, steps=2)
    return same_bits(found.personal, play(FedAvg(lr=0.125, epochs=2), [alone()], START, 3, steps=2).personal)


def it_is_central_training(pooled: Callable[..., Any]) -> CheckResult:
    """Bit for bit what torch's autograd comes to in 12 steps from the same start."""
    found = play(pooled(lr=0.125, epochs=2), [alone()], START, 3, steps=2)
    return same_bits(found.personal[0], central_vector(alone(), START, 2, 0.125, 6))


def it_is_marked_as_central(pooled: Callable[..., Any]) -> CheckResult:
    """``central`` is the mark by which the server knows that raw data is to be gathered: 1, true."""
    return close(float(pooled().traits.centralized), 1, atol=0)


CHECKS = (
    it_ends_at_the_ridge_solution_of_the_union,
    it_is_fedavg_with_one_client,
    it_is_central_training,
    it_is_marked_as_central,
)

GAIN = "it learns from raw data, which is in one place; its checks say that it is FedAvg with one client there"
"""No claim, for this reason."""
