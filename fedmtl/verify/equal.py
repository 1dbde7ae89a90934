"""Equal weights by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close
from fedmtl.verify.two_tasks import CONFLICT, LR, LinearLosses, direction, play


def it_is_the_mean(equal: Callable[..., Any]) -> CheckResult:
    """Σ a_t / 2 = (0.5, 0.5, 0) for a_1 = (2, 0, 0), a_2 = (−1, 1, 0)."""
    return close(direction(equal(), CONFLICT), [0.5, 0.5, 0.0], atol=1e-12)


def heads_descend_on_their_half(equal: Callable[..., Any]) -> CheckResult:
    """∂L/∂b_t = 1/2: each head moves by −η/2."""
    found = play(equal(), LinearLosses(CONFLICT, np.ones(2))).heads
    return close([found["head.t0.b"], found["head.t1.b"]], [-LR / 2, -LR / 2], atol=1e-12)


CHECKS = (it_is_the_mean, heads_descend_on_their_half)
