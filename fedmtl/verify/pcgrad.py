"""PCGrad of tasks by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.two_tasks import CONFLICT, LR, THREE, LinearLosses, direction, play


def two_tasks_by_hand(pcgrad: Callable[..., Any]) -> CheckResult:
    """u_1 = a_1 + 2/2 a_2 = (1, 1, 0), u_2 = a_2 + 2/4 a_1 = (0, 1, 0); their mean is (0.5, 1, 0)."""
    return close(direction(pcgrad(), CONFLICT), [0.5, 1.0, 0.0], atol=1e-12)


def without_conflict_it_is_the_mean(pcgrad: Callable[..., Any]) -> CheckResult:
    """a_2 = (1, 1, 0) has ⟨a_1, a_2⟩ = 2 > 0: the mean (1.5, 0.5, 0) stays."""
    return close(direction(pcgrad(), np.abs(CONFLICT)), [1.5, 0.5, 0.0], atol=1e-12)


def three_tasks_on_the_vectors_themselves(pcgrad: Callable[..., Any]) -> CheckResult:
    """The same steps on the vectors, in numpy, others in the order t + 1, t + 2: not on their inner products."""
    total = np.zeros(3)
    for t in range(3):
        u = THREE[t].copy()
        for j in ((t + 1) % 3, (t + 2) % 3):
            if u @ THREE[j] < 0:
                u -= (u @ THREE[j]) / (THREE[j] @ THREE[j]) * THREE[j]
        total += u / 3
    return close(direction(pcgrad(), THREE), total, atol=1e-12)


def heads_keep_their_own_gradient(pcgrad: Callable[..., Any]) -> CheckResult:
    """∂/∂b_t of the mean is 1/2, whatever the conflict in the trunk: each head moves by −η/2."""
    found = play(pcgrad(), LinearLosses(CONFLICT, np.ones(2))).heads
    return every(*[close(found[f"head.t{t}.b"], -LR / 2, atol=1e-12) for t in range(2)])


CHECKS = (
    two_tasks_by_hand,
    without_conflict_it_is_the_mean,
    three_tasks_on_the_vectors_themselves,
    heads_keep_their_own_gradient,
)
