"""DWA by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close
from fedmtl.verify.two_tasks import CONFLICT, LR, LinearLosses, play


def the_first_two_rounds_are_equal(dwa: Callable[..., Any]) -> CheckResult:
    """No L(e − 2) yet: two steps along the mean (0.5, 0.5, 0)."""
    return close(play(dwa(), LinearLosses(CONFLICT, np.ones(2)), rounds=2).theta, -2 * LR * CONFLICT.mean(0), atol=1e-7)


def the_third_round_by_hand(dwa: Callable[..., Any]) -> CheckResult:
    """θ¹ = −η (0.5, 0.5, 0) and b¹_t = −η/2 change L by −η (1, 0) − η/2: from (1, 4), r = (1 − 3η/2, 1 − η/8).

    In round 3 λ = softmax(r / temperature), and θ moves by −η Σ λ_t a_t.
    """
    losses = LinearLosses(CONFLICT, np.array([1.0, 4.0]))
    r = np.array([1 - 1.5 * LR, 1 - LR / 8])
    weights = np.exp(r / 0.5) / np.exp(r / 0.5).sum()
    moved = play(dwa(temperature=0.5), losses, rounds=3).theta - play(dwa(temperature=0.5), losses, rounds=2).theta
    return close(moved, -LR * weights @ CONFLICT, atol=1e-6)


CHECKS = (the_first_two_rounds_are_equal, the_third_round_by_hand)
