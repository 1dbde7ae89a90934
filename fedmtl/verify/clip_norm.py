"""ClipNorm: the length of an update."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, same_bits

UPDATE = np.array([[2.0, -3.0, 6.0]], np.float32)
"""An update of norm √(4 + 9 + 36) = 7."""


def a_long_update_keeps_its_direction_alone(clip: Callable[..., Any]) -> CheckResult:
    """‖x‖ = 7 > S = 3.5: x' = x S / ‖x‖ is half of x, each number of it."""
    return close(clip(3.5).apply(UPDATE, np.random.default_rng), UPDATE / 2, atol=1e-6)


def each_update_of_a_cohort_has_its_own_norm(clip: Callable[..., Any]) -> CheckResult:
    """x, 2x and −10x with S = 3.5 all become 3.5 long: 7, 14 and 70 are all more."""
    found = clip(3.5).apply(np.concatenate([UPDATE, 2 * UPDATE, -10 * UPDATE]), np.random.default_rng)
    return close(np.linalg.norm(found.astype(np.float64), axis=1), [3.5, 3.5, 3.5], atol=1e-6)


def a_short_update_stays(clip: Callable[..., Any]) -> CheckResult:
    """‖x‖ = 7 ≤ S = 8: the factor is min(1, 8/7) = 1, so that no bit of x differs."""
    return same_bits(clip(8.0).apply(UPDATE, np.random.default_rng), UPDATE)


def nothing_is_undone(clip: Callable[..., Any]) -> CheckResult:
    """The receiver cannot know what was cut off: undo is the identity, bit for bit."""
    return same_bits(clip(3.5).undo(UPDATE), UPDATE)


CHECKS = (
    a_long_update_keeps_its_direction_alone,
    each_update_of_a_cohort_has_its_own_norm,
    a_short_update_stays,
    nothing_is_undone,
)
