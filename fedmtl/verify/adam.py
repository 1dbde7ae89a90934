"""Adam in the form of servers, against the paper's algorithm in numpy and steps on paper."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.descent import LR, ONE, START, descend, padding_is_inert
from fedmtl.verify.server_optimizer import directions


def ten_steps_of_the_paper(adam: Callable[..., Any]) -> CheckResult:
    """Algorithm 2 in numpy from m = 0, v = τ², for every hyper-parameter other than its default."""
    beta1, beta2, tau, w = 0.7, 0.9, 0.1, START
    m, v = np.zeros(5), np.full(5, tau**2)
    for _ in range(10):
        g = ONE.gradient(w)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        w = w - LR * m / (np.sqrt(v) + tau)
    return close(descend(adam(beta1=beta1, beta2=beta2, tau=tau), 10), w, atol=1e-12)


def two_steps_on_paper(adam: Callable[..., Any]) -> CheckResult:
    """β₁ = β₂ = 1/2, τ = 1/4, so v starts at 1/16; g = 1, then 0: m = 1/2, 1/4; v = 1/32 + 1/2 = 17/32, then 17/64."""
    expected = [0.5 / (np.sqrt(17 / 32) + 0.25), 0.25 / (np.sqrt(17 / 64) + 0.25)]
    return close(directions(adam(beta1=0.5, beta2=0.5, tau=0.25), [1.0, 0.0]), expected, atol=1e-15)


def without_memory_it_goes_by_signs(adam: Callable[..., Any]) -> CheckResult:
    """β₁ = β₂ = 0: m = g, v = g², d = g / (|g| + τ): 3/(3 + τ), then −½/(½ + τ)."""
    found = directions(adam(beta1=0.0, beta2=0.0, tau=0.5), [3.0, -0.5])
    return every(close(found, [3 / 3.5, -0.5], atol=1e-15))


def a_padded_batch_changes_nothing(adam: Callable[..., Any]) -> CheckResult:
    """The moments would shrink: padded batches leave no bit different even so."""
    return padding_is_inert(adam())


CHECKS = (
    ten_steps_of_the_paper,
    two_steps_on_paper,
    without_memory_it_goes_by_signs,
    a_padded_batch_changes_nothing,
)
