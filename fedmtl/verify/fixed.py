"""Fixed weights by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close
from fedmtl.verify.two_tasks import CONFLICT, LinearLosses, direction, play


def it_is_the_weighted_mean(fixed: Callable[..., Any]) -> CheckResult:
    """Σ w_t a_t / 2 = (1.75, 0.25, 0) for w = (2, 0.5), a_1 = (2, 0, 0), a_2 = (−1, 1, 0)."""
    return close(direction(fixed({"t0": 2.0, "t1": 0.5}), CONFLICT), [1.75, 0.25, 0.0], atol=1e-12)


def a_task_without_a_weight_has_1(fixed: Callable[..., Any]) -> CheckResult:
    """(3 a_1 + a_2) / 2 = (2.5, 0.5, 0)."""
    return close(direction(fixed({"t0": 3.0}), CONFLICT), [2.5, 0.5, 0.0], atol=1e-12)


def a_client_of_one_task_trains_with_its_weight(fixed: Callable[..., Any]) -> CheckResult:
    """w a = 3 (2, 0, 0), a step of lr 1/8: θ = −(0.75, 0, 0), and again in the next round."""
    found = play(fixed({"t0": 3.0}), LinearLosses(CONFLICT[:1], np.ones(1)), rounds=2).theta
    return close(found, [-1.5, 0.0, 0.0], atol=1e-12)


CHECKS = (it_is_the_weighted_mean, a_task_without_a_weight_has_1, a_client_of_one_task_trains_with_its_weight)
