"""Momentum by hand."""

from collections.abc import Callable
from typing import Any

from fedmtl.optimizers import SGD
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.descent import LR, ONE, START, by_hand, descend, padding_is_inert, same_as


def two_steps_by_hand(momentum: Callable[..., Any]) -> CheckResult:
    """m¹ = g(w), w¹ = w − ηm¹; m² = βm¹ + g(w¹), w² = w¹ − ηm²."""
    beta, first = 0.7, ONE.gradient(START)
    w = START - LR * first
    w = w - LR * (beta * first + ONE.gradient(w))
    return close(descend(momentum(beta=beta), 2), w, atol=1e-12)


def two_nesterov_steps_by_hand(momentum: Callable[..., Any]) -> CheckResult:
    """d¹ = g + βm¹ = (1 + β)g, w¹ = w − ηd¹; m² = βg + g(w¹), w² = w¹ − η(g(w¹) + βm²)."""
    beta, first = 0.7, ONE.gradient(START)
    w = START - LR * (1 + beta) * first
    second = ONE.gradient(w)
    w = w - LR * (second + beta * (beta * first + second))
    return close(descend(momentum(beta=beta, nesterov=True), 2), w, atol=1e-12)


def without_memory_it_is_sgd(momentum: Callable[..., Any]) -> CheckResult:
    """β = 0: m = g and d = g, with Nesterov's look ahead too; five steps have SGD's bits."""
    return every(same_as(momentum(beta=0.0), SGD()), same_as(momentum(beta=0.0, nesterov=True), SGD()))


def every_local_update_begins_without_memory(momentum: Callable[..., Any]) -> CheckResult:
    """m is 0 at the start of each local update: two of one step each are two steps of plain gradient descent."""
    w = descend(momentum(beta=0.7), 1, start=descend(momentum(beta=0.7), 1))
    return close(w, by_hand(lambda g, w: g, 2), atol=1e-12)


def a_padded_batch_changes_nothing(momentum: Callable[..., Any]) -> CheckResult:
    """m would shrink by β where there is no gradient: padded batches between real ones leave no bit different."""
    return every(padding_is_inert(momentum(beta=0.7)), padding_is_inert(momentum(beta=0.7, nesterov=True)))


CHECKS = (
    two_steps_by_hand,
    two_nesterov_steps_by_hand,
    without_memory_it_is_sgd,
    every_local_update_begins_without_memory,
    a_padded_batch_changes_nothing,
)
