"""Uncertainty weighting at its optimum, and one step by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close
from fedmtl.verify.two_tasks import CONFLICT, LR, LinearLosses, play


def it_settles_at_the_log_of_the_loss(uncertainty: Callable[..., Any]) -> CheckResult:
    """Losses that stay 0.5 and 3, for heads that they do not have: 1 − e^{−s} L = 0 at s* = log L."""

    class Constant(LinearLosses):
        def each(self, params: Any, batch: Any) -> Any:
            return super().each(params, batch).detach()

    found = play(uncertainty(), Constant(np.zeros((2, 3)), np.array([0.5, 3.0])), rounds=400).heads
    return close([found[f"head.t{t}.log_variance"] for t in range(2)], np.log([0.5, 3.0]), atol=1e-5)


def two_steps_by_hand(uncertainty: Callable[..., Any]) -> CheckResult:
    """From s = 0: θ¹ = −η Σ a_t / 2 and s¹ = −η (1 − L) / 2, with L = (0.5, 3); θ² = θ¹ − η Σ e^{−s¹} a_t / 2."""
    losses = np.array([0.5, 3.0])
    s = -LR * (1 - losses) / 2
    theta = -LR * CONFLICT.mean(axis=0) - LR * (np.exp(-s) @ CONFLICT) / 2
    return close(play(uncertainty(), LinearLosses(CONFLICT, losses), rounds=2).theta, theta, atol=1e-7)


CHECKS = (it_settles_at_the_log_of_the_loss, two_steps_by_hand)
