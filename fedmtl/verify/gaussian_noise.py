"""GaussianNoise: the moments of what a client adds."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every, same_bits

COUNT = 200_000
STD = 0.4
X = np.full((2, COUNT), 3.0, np.float32)


def _noise(transform: Callable[..., Any]) -> Any:
    """Return the noise of two clients' updates, float64 [2, COUNT]."""
    return transform(STD).apply(X, np.random.default_rng).astype(np.float64) - X


def the_mean_is_the_update(transform: Callable[..., Any]) -> CheckResult:
    """E[x'] = x: the mean of n numbers of variance σ² is within 5σ/√n of 0."""
    return close(_noise(transform).mean(axis=1), [0.0, 0.0], atol=5 * STD / COUNT**0.5)


def the_variance_is_that_of_the_field(transform: Callable[..., Any]) -> CheckResult:
    """The sample variance of n normal numbers is σ² to within 5 standard errors of σ²√(2/n)."""
    return close(_noise(transform).var(axis=1), [STD**2, STD**2], atol=5 * STD**2 * (2 / COUNT) ** 0.5)


def the_third_and_the_fourth_moment_are_normal(transform: Callable[..., Any]) -> CheckResult:
    """E z³ = 0 and E z⁴ = 3, with variances 15 and 105 − 9 = 96, so within 5√(15/n) and 5√(96/n)."""
    z = _noise(transform) / STD
    third = close((z**3).mean(axis=1), [0.0, 0.0], atol=5 * (15 / COUNT) ** 0.5)
    return every(third, close((z**4).mean(axis=1), [3.0, 3.0], atol=5 * (96 / COUNT) ** 0.5))


def clients_are_independent(transform: Callable[..., Any]) -> CheckResult:
    """The mean product of two clients' noise is 0 to within 5σ²/√n, each having a generator of its own."""
    one, other = _noise(transform)
    return close((one * other).mean(), 0.0, atol=5 * STD**2 / COUNT**0.5)


def the_generator_alone_decides(transform: Callable[..., Any]) -> CheckResult:
    """A generator of (seed, round, client) draws the same numbers again, whatever clients are beside it."""
    return same_bits(transform(STD).apply(X[:1], lambda _: np.random.default_rng(1)), _of_the_second(transform))


def _of_the_second(transform: Callable[..., Any]) -> Any:
    return transform(STD).apply(X, np.random.default_rng)[1:]


CHECKS = (
    the_mean_is_the_update,
    the_variance_is_that_of_the_field,
    the_third_and_the_fourth_moment_are_normal,
    clients_are_independent,
    the_generator_alone_decides,
)
