"""Optimisers at work on one quadratic, whose gradient H(w − w*) is exact: what their golden checks play."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.common.local_training import sgd
from fedmtl.core.context import context_of
from fedmtl.verify.check import CheckResult, every, same_bits
from fedmtl.verify.quadratic import Array, clients, vector

ONE = clients(1)[0]
"""f(w) = ½ (w − w*)ᵀ H (w − w*), five numbers of which three are the trunk's; eigenvalues of H between 1/2 and 2."""

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
LR = 0.125

MASKS = {True: [1.0, 1.0, 0.0], False: [0.0, 0.0, 0.0]}


def batches(steps: Sequence[bool]) -> list[dict[str, Tensor]]:
    """A batch for each step, False: padding."""
    return [
        {
            "x": torch.zeros(3, 1),
            "mask": torch.tensor(MASKS[real]),
        }
        for real in steps
    ]


def descend(
    optimizer: Any, steps: int | Sequence[bool], lr: float = LR, start: Array = START, round: int = 0, epochs: int = 1
) -> Array:
    """w after one local update of a round, from a number of real batches, or a flag a batch: False is padding."""
    real = [True] * steps if isinstance(steps, int) else steps
    ctx = context_of(round=round)
    return vector(sgd(ONE.loss, ONE.params(start), batches(real), lr, epochs, optimizer, ctx=ctx))


def by_hand(step: Callable[[Array, Array], Array], steps: int, lr: float = LR, start: Array = START) -> Array:
    """w after w <- w − η step(g, w), in numpy."""
    w = start
    for _ in range(steps):
        w = w - lr * step(ONE.gradient(w), w)
    return w


def padding_is_inert(optimizer: Any) -> CheckResult:
    """Real batches among padded ones, against the real ones alone, in two epochs: not a bit differs."""
    mixed = descend(optimizer, [False, True, False, True, True, False], epochs=2)
    return same_bits(mixed, descend(optimizer, [True, True, True], epochs=2))


def factors(schedule: Any, rounds: Sequence[int]) -> Array:
    """By what a schedule around SGD multiplies the step of each round: (w − w') / ηg, the same in all numbers."""
    g = ONE.gradient(START)
    return np.stack([(START - descend(schedule, 1, round=t)) / (LR * g) for t in rounds])


def rounds_by_hand(schedule: Any, expected: Sequence[float]) -> tuple[Array, Array]:
    """Local updates of two steps, one a round, each from where the last one ended: found, and with ηs of one's own."""
    found, own = START, START
    for t, factor in enumerate(expected):
        found = descend(schedule, 2, start=found, round=t)
        own = by_hand(lambda g, w: g, 2, lr=LR * factor, start=own)
    return found, own


def same_as(optimizer: Any, other: Any, steps: int = 5, rounds: Sequence[int] = (0, 3)) -> CheckResult:
    """Bit for bit, in each of the rounds."""
    return every(*(same_bits(descend(optimizer, steps, round=t), descend(other, steps, round=t)) for t in rounds))
