"""Warmup: its values, and three rounds by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.optimizers import Cosine, Momentum
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.descent import LR, ONE, START, descend, factors, padding_is_inert, rounds_by_hand


def its_values(warmup: Callable[..., Any]) -> CheckResult:
    """T = 4: rounds 0, 1, 2, 3, 4, 9 have 1/4, 2/4, 3/4, 1, 1, 1 of η."""
    found = factors(warmup(rounds=4), [0, 1, 2, 3, 4, 9])
    return close(found, np.tile([[0.25], [0.5], [0.75], [1], [1], [1]], 5), atol=1e-12)


def three_rounds_are_sgd_with_three_rates(warmup: Callable[..., Any]) -> CheckResult:
    """T = 2: rounds of two steps with η/2, η, η, by hand, each from where the last one ended."""
    return close(*rounds_by_hand(warmup(rounds=2), [0.5, 1, 1]), atol=1e-12)


def factors_of_nested_schedules_multiply(warmup: Callable[..., Any]) -> CheckResult:
    """Warmup over 2 rounds around a cosine over 4: 1/2 · 1, 1 · (1 + cos π/4)/2, 1 · 1/2 of η, by hand."""
    nested = warmup(rounds=2, optimizer=Cosine(rounds=4))
    return close(*rounds_by_hand(nested, [0.5, (1 + math.sqrt(0.5)) / 2, 0.5]), atol=1e-6)


def it_scales_what_the_optimiser_makes(warmup: Callable[..., Any]) -> CheckResult:
    """Two steps with momentum at half of η: w¹ = w − ηm¹/2, w² = w¹ − η(βm¹ + g¹)/2; m is of unscaled gradients."""
    beta, m = 0.7, ONE.gradient(START)
    w = START - LR / 2 * m
    w = w - LR / 2 * (beta * m + ONE.gradient(w))
    return close(descend(warmup(rounds=4, optimizer=Momentum(beta)), 2, round=1), w, atol=1e-12)


def a_padded_batch_changes_nothing(warmup: Callable[..., Any]) -> CheckResult:
    """The round of a padded row is not read either: no bit of w differs."""
    return every(padding_is_inert(warmup(rounds=4)), padding_is_inert(warmup(rounds=4, optimizer=Momentum(0.7))))


CHECKS = (
    its_values,
    three_rounds_are_sgd_with_three_rates,
    factors_of_nested_schedules_multiply,
    it_scales_what_the_optimiser_makes,
    a_padded_batch_changes_nothing,
)
