"""Cosine: its values, and three rounds by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.optimizers import Momentum
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.descent import LR, ONE, START, descend, factors, padding_is_inert, rounds_by_hand


def its_values_at_known_angles(cosine: Callable[..., Any]) -> CheckResult:
    """T = 6: cos 0, π/3, π/2, 2π/3, π are 1, 1/2, 0, −1/2, −1, so the factors of rounds 0, 2, 3, 4, 6 are 1, 3/4, 1/2,
    1/4 and 0; and 0 in all later rounds. The round is a float32, and so is the factor."""
    found = factors(cosine(rounds=6), [0, 2, 3, 4, 6, 7, 50])
    return close(found, np.tile([[1], [0.75], [0.5], [0.25], [0], [0], [0]], 5), atol=1e-6)


def the_floor_is_where_it_ends(cosine: Callable[..., Any]) -> CheckResult:
    """f = 0.2: the same between 1 and 0.2, 0.2 + 0.8 · (1, 3/4, 1/2, 1/4, 0), and 0.2 for good."""
    found = factors(cosine(rounds=6, floor=0.2), [0, 2, 3, 4, 6, 50])
    return close(found, np.tile([[1], [0.8], [0.6], [0.4], [0.2], [0.2]], 5), atol=1e-6)


def three_rounds_are_sgd_with_three_rates(cosine: Callable[..., Any]) -> CheckResult:
    """T = 4: rounds of two steps with η (1 + cos(πt/4))/2, t = 0, 1, 2, by hand, each from where the last one ended."""
    return close(*rounds_by_hand(cosine(rounds=4), [1, (1 + math.sqrt(0.5)) / 2, 0.5]), atol=1e-6)


def it_scales_what_the_optimiser_makes(cosine: Callable[..., Any]) -> CheckResult:
    """Two steps with momentum in round 3 of 6: w¹ = w − ηm¹/2, w² = w¹ − η(βm¹ + g¹)/2; m is of unscaled gradients."""
    beta, m = 0.7, ONE.gradient(START)
    w = START - LR / 2 * m
    w = w - LR / 2 * (beta * m + ONE.gradient(w))
    return close(descend(cosine(rounds=6, optimizer=Momentum(beta)), 2, round=3), w, atol=1e-6)


def a_padded_batch_changes_nothing(cosine: Callable[..., Any]) -> CheckResult:
    """The round of a padded row is not read either: no bit of w differs."""
    return every(padding_is_inert(cosine(rounds=6)), padding_is_inert(cosine(rounds=6, optimizer=Momentum(0.7))))


CHECKS = (
    its_values_at_known_angles,
    the_floor_is_where_it_ends,
    three_rounds_are_sgd_with_three_rates,
    it_scales_what_the_optimiser_makes,
    a_padded_batch_changes_nothing,
)
