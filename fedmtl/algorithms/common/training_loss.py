"""A client's training loss: losses of its steps, counted beside the descent; and those of a model that stands still."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.core.types import Batch, LossFn, Params


class Losses(NamedTuple):
    """Losses of one descent, added up."""

    total: Tensor
    """Σ n f over its steps: the loss of each step's batch, before the step, times the examples of the batch."""
    examples: Tensor
    """Σ n."""


_LOSSES: ContextVar[list[Losses] | None] = ContextVar("losses", default=None)


@contextmanager
def losses_kept() -> Iterator[list[Losses]]:
    """Within, each ``sgd`` adds its losses to the list, however the algorithm inside calls it."""
    kept: list[Losses] = []
    token = _LOSSES.set(kept)
    try:
        yield kept
    finally:
        _LOSSES.reset(token)


def losses_are_kept() -> bool:
    """Return True within ``losses_kept``."""
    return _LOSSES.get() is not None


def keep_loss(total: Tensor, examples: Tensor) -> None:
    """Count losses towards the client's training loss: for a method that descends without ``sgd``.

    Args:
        total: Σ n f over its steps, a scalar.
        examples: Σ n, a scalar.
    """
    kept = _LOSSES.get()
    if kept is not None:
        kept.append(Losses(total, examples))


def mean_loss(kept: Sequence[Losses]) -> Tensor | None:
    """Mean loss over all examples of all steps, a scalar, NaN without an example; None where nothing descends."""
    if not kept:
        return None
    total, examples = kept[0]
    for one in kept[1:]:  # one after the other: what padding adds must change no bit
        total, examples = total + one.total, examples + one.examples
    return total / examples


def total_loss(loss: LossFn, w: Params, batches: Sequence[Batch]) -> Tensor:
    """n_k f_k(w): Σ n loss(w, batch) over an epoch, for a loss of any shape."""
    total = torch.zeros(())
    for batch in batches:  # one after the other: what padding adds must change no bit
        total = total + batch["mask"].sum() * loss(w, batch)
    return total
