"""WeightDecay against the minimum of the penalised objective."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.optimizers import SGD, Momentum
from fedmtl.verify.batch_norm import averaged
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.descent import LR, ONE, START, by_hand, descend, padding_is_inert, same_as

RATE = 0.7


def it_ends_at_the_penalised_minimum(weight_decay: Callable[..., Any]) -> CheckResult:
    """H(w − w*) + λw = 0: w = (H + λI)⁻¹Hw*. The slowest direction shrinks by 1 − 0.25 (0.5 + λ) a step: after 200 less
    than 1e-13 of it is left."""
    minimum = np.linalg.solve(ONE.hessian + RATE * np.eye(5), ONE.hessian @ ONE.star)
    return close(descend(weight_decay(rate=RATE), 200, lr=0.25), minimum, atol=1e-9)


def two_steps_by_hand(weight_decay: Callable[..., Any]) -> CheckResult:
    """w <- w − η(g + λw), twice."""
    return close(descend(weight_decay(rate=RATE), 2), by_hand(lambda g, w: g + RATE * w, 2), atol=1e-12)


def it_comes_before_the_optimiser(weight_decay: Callable[..., Any]) -> CheckResult:
    """Two steps with momentum: m¹ = g + λw, m² = βm¹ + g¹ + λw¹; decoupled, m would hold gradients alone."""
    beta = 0.7
    m = ONE.gradient(START) + RATE * START
    w = START - LR * m
    w = w - LR * (beta * m + ONE.gradient(w) + RATE * w)
    return close(descend(weight_decay(rate=RATE, optimizer=Momentum(beta=beta)), 2), w, atol=1e-12)


def without_a_rate_it_is_the_optimiser(weight_decay: Callable[..., Any]) -> CheckResult:
    """λ = 0 adds 0·w to g: the bits of SGD, and of Momentum, after five steps."""
    inner = Momentum(0.7)
    return every(same_as(weight_decay(rate=0.0), SGD()), same_as(weight_decay(rate=0.0, optimizer=inner), inner))


def a_padded_batch_changes_nothing(weight_decay: Callable[..., Any]) -> CheckResult:
    """λw is there without an example too: padded batches between real ones leave no bit different all the same."""
    return every(padding_is_inert(weight_decay(rate=RATE)), padding_is_inert(weight_decay(RATE, Momentum(0.7))))


def running_statistics_take_no_step(weight_decay: Callable[..., Any]) -> CheckResult:
    """Statistics of BatchNorm do not decay: they are FedAvg's of plain steps, see ``averaged``."""
    return averaged(FedAvg(lr=0.1, epochs=1, optimizer=weight_decay(rate=RATE)))


CHECKS = (
    it_ends_at_the_penalised_minimum,
    two_steps_by_hand,
    it_comes_before_the_optimiser,
    without_a_rate_it_is_the_optimiser,
    a_padded_batch_changes_nothing,
    running_statistics_take_no_step,
)
