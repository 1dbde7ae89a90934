"""Clip: the length of the step."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.optimizers import SGD, Momentum
from fedmtl.verify.batch_norm import averaged
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.descent import LR, ONE, START, descend, padding_is_inert, same_as

SHORT = 0.25
"""Less than a third of ‖g‖ at START, where trunk and head have parts of their own: a check says so."""


def a_long_gradient_keeps_its_direction_alone(clip: Callable[..., Any]) -> CheckResult:
    """‖g‖ > c: one step is ηcg/‖g‖, ‖g‖ over trunk and head together; a third of ‖g‖ is more than c here."""
    g = ONE.gradient(START)
    if not np.linalg.norm(g) > 3 * SHORT:
        return CheckResult(f"> {3 * SHORT}", f"{np.linalg.norm(g)}", False)
    return close((START - descend(clip(norm=SHORT), 1)) / LR, SHORT * g / np.linalg.norm(g), atol=1e-12)


def the_step_has_the_norm(clip: Callable[..., Any]) -> CheckResult:
    """The direction of SGD around a long gradient is c long, for several c."""
    lengths = [np.linalg.norm(START - descend(clip(norm=c), 1)) / LR for c in (0.01, 0.1, SHORT)]
    return close(lengths, [0.01, 0.1, SHORT], atol=1e-12)


def a_short_gradient_stays(clip: Callable[..., Any]) -> CheckResult:
    """‖g‖ ≤ c on the whole way, c = 2‖g‖ at the start of the descent: the factor is c/c; five steps have SGD's bits."""
    return same_as(clip(norm=2 * float(np.linalg.norm(ONE.gradient(START)))), SGD())


def it_comes_before_the_optimiser(clip: Callable[..., Any]) -> CheckResult:
    """Two steps with momentum: m¹ = u(g), m² = βm¹ + u(g¹), with u(g) = cg/‖g‖; clipped after it, m² is c long."""
    beta, first = 0.7, ONE.gradient(START)
    m = SHORT * first / np.linalg.norm(first)
    w = START - LR * m
    second = ONE.gradient(w)
    w = w - LR * (beta * m + SHORT * second / np.linalg.norm(second))
    return close(descend(clip(norm=SHORT, optimizer=Momentum(beta=beta)), 2), w, atol=1e-12)


def a_padded_batch_changes_nothing(clip: Callable[..., Any]) -> CheckResult:
    """Neither around SGD nor around an optimiser with a memory: no bit of w differs."""
    return every(padding_is_inert(clip(norm=SHORT)), padding_is_inert(clip(norm=SHORT, optimizer=Momentum(0.7))))


def running_statistics_take_no_step(clip: Callable[..., Any]) -> CheckResult:
    """Statistics of BatchNorm are in no length that is clipped, and are not clipped: they are FedAvg's of plain
    steps, see ``averaged``."""
    return averaged(FedAvg(lr=0.1, epochs=1, optimizer=clip(norm=0.01)))


CHECKS = (
    a_long_gradient_keeps_its_direction_alone,
    the_step_has_the_norm,
    a_short_gradient_stays,
    it_comes_before_the_optimiser,
    a_padded_batch_changes_nothing,
    running_statistics_take_no_step,
)
