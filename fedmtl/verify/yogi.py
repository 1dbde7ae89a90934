"""Yogi in the form of servers, against the paper's algorithm in numpy and steps on paper."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close
from fedmtl.verify.descent import LR, ONE, START, descend, padding_is_inert
from fedmtl.verify.server_optimizer import directions


def ten_steps_of_the_paper(yogi: Callable[..., Any]) -> CheckResult:
    """Algorithm 2 in numpy from m = 0, v = τ², v by cases, for every hyper-parameter other than its default."""
    beta1, beta2, tau, w = 0.7, 0.9, 0.1, START
    m, v = np.zeros(5), np.full(5, tau**2)
    for _ in range(10):
        g = ONE.gradient(w)
        m, v = beta1 * m + (1 - beta1) * g, np.where(v > g**2, v - (1 - beta2) * g**2, v + (1 - beta2) * g**2)
        w = w - LR * m / (np.sqrt(v) + tau)
    return close(descend(yogi(beta1=beta1, beta2=beta2, tau=tau), 10), w, atol=1e-12)


def it_rises_and_falls_by_the_gradient(yogi: Callable[..., Any]) -> CheckResult:
    """β₁ = 0, β₂ = 1/2, τ = 1/4, so v starts at 1/16; g = 1, then 1/4: v = 1/16 + 1/2 = 9/16, then 9/16 − 1/32 = 17/32.
    g² = 1/16 = v from the start leaves v as it is."""
    settings = {"beta1": 0.0, "beta2": 0.5, "tau": 0.25}
    found = [*directions(yogi(**settings), [1.0, 0.25]), *directions(yogi(**settings), [0.25])]
    return close(found, [1 / (0.75 + 0.25), 0.25 / (np.sqrt(17 / 32) + 0.25), 0.25 / (0.25 + 0.25)], atol=1e-15)


def a_lull_does_not_speed_it_up(yogi: Callable[..., Any]) -> CheckResult:
    """After g = 1, rounds of g = 0 leave v at τ² + (1 − β₂) = ½; with β₁ = ½, m = ½, ¼, ⅛ and d = m / (√½ + ½)."""
    found = directions(yogi(beta1=0.5, beta2=0.75, tau=0.5), [1.0, 0.0, 0.0])
    return close(found, np.array([1 / 2, 1 / 4, 1 / 8]) / (np.sqrt(0.5) + 0.5), atol=1e-15)


def a_padded_batch_changes_nothing(yogi: Callable[..., Any]) -> CheckResult:
    """The moments would shrink: padded batches leave no bit different even so."""
    return padding_is_inert(yogi())


CHECKS = (
    ten_steps_of_the_paper,
    it_rises_and_falls_by_the_gradient,
    a_lull_does_not_speed_it_up,
    a_padded_batch_changes_nothing,
)
