"""ServerGaussianNoise: the moments of what the server adds to the mean."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every, same_bits

COUNT = 200_000
STD = 0.4
WEIGHT = 8.0
TOTAL = np.full(COUNT, 24.0)


def the_mean_gets_noise_of_the_field_whatever_the_weight(transform: Callable[..., Any]) -> CheckResult:
    """(24 + 8σz) / 8 = 3 + σz: n numbers have mean 3 ± 5σ/√n and variance σ² ± 5σ²√(2/n)."""
    mean = transform(STD).on_sum(TOTAL, WEIGHT, np.random.default_rng(1)) / WEIGHT
    center = close(mean.mean(), 3.0, atol=5 * STD / COUNT**0.5)
    return every(center, close(mean.var(), STD**2, atol=5 * STD**2 * (2 / COUNT) ** 0.5))


def the_noise_is_added_to_the_sum(transform: Callable[..., Any]) -> CheckResult:
    """T + N σ z by hand, with z of the same generator, and σ z on a sum of weight 1."""
    z = np.random.default_rng(1).standard_normal(COUNT)
    heavy = close(transform(STD).on_sum(TOTAL, WEIGHT, np.random.default_rng(1)), TOTAL + WEIGHT * STD * z, atol=1e-12)
    return every(heavy, close(transform(STD).on_sum(TOTAL, 1.0, np.random.default_rng(1)), TOTAL + STD * z, atol=1e-12))


def sums_of_nodes_get_what_one_sum_gets(transform: Callable[..., Any]) -> CheckResult:
    """The noise of one generator is on Σ n_k w_k of all nodes together, and grows with Σ n_k alone: (2T, 2N) is twice
    (T, N)."""
    one, two = (transform(STD).on_sum(f * TOTAL, f * WEIGHT, np.random.default_rng(1)) for f in (1.0, 2.0))
    return close(two, 2 * one, atol=1e-12)


def clients_send_what_they_would_send_without_it(transform: Callable[..., Any]) -> CheckResult:
    """The client's part is the identity, bit for bit, there and back."""
    x = np.array([[1.0, -2.0, 1e-40]], np.float32)
    part = transform(STD)
    return every(same_bits(part.apply(x, np.random.default_rng), x), same_bits(part.undo(x), x))


CHECKS = (
    the_noise_is_added_to_the_sum,
    the_mean_gets_noise_of_the_field_whatever_the_weight,
    sums_of_nodes_get_what_one_sum_gets,
    clients_send_what_they_would_send_without_it,
)
