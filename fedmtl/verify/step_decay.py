"""StepDecay: its values, and three rounds by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.optimizers import Momentum
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.descent import LR, ONE, START, descend, factors, padding_is_inert, rounds_by_hand


def its_values_before_and_after_each_step(step_decay: Callable[..., Any]) -> CheckResult:
    """every = 3, f = 1/10: ⌊t/3⌋ of rounds 0, 2, 3, 5, 6, 9 is 0, 0, 1, 1, 2, 3; 10 to minus that, in float32."""
    found = factors(step_decay(every=3, factor=0.1), [0, 2, 3, 5, 6, 9])
    return close(found, np.tile([[1], [1], [0.1], [0.1], [0.01], [0.001]], 5), atol=1e-6)


def three_rounds_are_sgd_with_three_rates(step_decay: Callable[..., Any]) -> CheckResult:
    """every = 1, f = 1/2: rounds of two steps with η, η/2, η/4, by hand, each from where the last one ended."""
    return close(*rounds_by_hand(step_decay(every=1, factor=0.5), [1, 0.5, 0.25]), atol=1e-12)


def it_scales_what_the_optimiser_makes(step_decay: Callable[..., Any]) -> CheckResult:
    """Two steps with momentum at half of η: w¹ = w − ηm¹/2, w² = w¹ − η(βm¹ + g¹)/2; m is of unscaled gradients."""
    beta, m = 0.7, ONE.gradient(START)
    w = START - LR / 2 * m
    w = w - LR / 2 * (beta * m + ONE.gradient(w))
    found = descend(step_decay(every=3, factor=0.5, optimizer=Momentum(beta)), 2, round=5)
    return close(found, w, atol=1e-12)


def a_padded_batch_changes_nothing(step_decay: Callable[..., Any]) -> CheckResult:
    """The round of a padded row is not read either: no bit of w differs."""
    return every(padding_is_inert(step_decay(every=3)), padding_is_inert(step_decay(3, 0.5, Momentum(0.7))))


CHECKS = (
    its_values_before_and_after_each_step,
    three_rounds_are_sgd_with_three_rates,
    it_scales_what_the_optimiser_makes,
    a_padded_batch_changes_nothing,
)
