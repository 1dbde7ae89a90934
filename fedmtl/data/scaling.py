"""Inputs with mean 0 and standard deviation 1 over training examples, of one client or of all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[NDArray[Any], NDArray[Any]]
"""Training and test inputs of one client, [N, …]."""


def scaled_alone(train: NDArray[Any], test: NDArray[Any], axes: tuple[int, ...] = (0,)) -> Pair:
    """The inputs of one client by its own training part: nothing has to be sent for it.

    Args:
        train: inputs, [N, …].
        test: likewise.
        axes: over which mean and standard deviation are taken.
    """
    center, scale = train.mean(axes, keepdims=True), _positive(train.std(axes, keepdims=True))
    return (train - center) / scale, (test - center) / scale


def scaled_together(parts: Sequence[Pair]) -> list[Pair]:
    """The inputs of all clients by one scale, that of all training parts; clients would send sums and squares."""
    rows = np.concatenate([train for train, _ in parts])
    center, scale = rows.mean(0), _positive(rows.std(0))
    return [((train - center) / scale, (test - center) / scale) for train, test in parts]


def _positive(scale: NDArray[Any]) -> NDArray[Any]:
    """The scale, 1 where a feature is constant."""
    return np.where(scale > 0, scale, 1)
