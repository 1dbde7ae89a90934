"""Inputs with mean 0 and standard deviation 1 over training examples, of one client or of all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.moments import FeatureMoments, MomentsRule, moments_of
from fedmtl.data.prepared import Prepared, prepared_by

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


class Scale(NamedTuple):
    """Means and standard deviations of the numbers of an example, [F] both."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def scaled_together(
    parts: Sequence[Pair], remake: Callable[[bytes], Any], agreed: bytes | None = None
) -> tuple[list[Pair], Prepared]:
    """The inputs of clients 0, 1, … by one scale, that of all training parts, and the preparation that agrees on it.

    Args:
        parts: inputs of each client.
        remake: loads the federation anew by what was agreed elsewhere.
        agreed: that, where it is known.
    """
    total, prepared = pooled_scale({client: train for client, (train, _) in enumerate(parts)}, remake, agreed)
    return [(scaled(train, total), scaled(test, total)) for train, test in parts], prepared


def pooled_scale(
    train: Mapping[int, NDArray[Any]], remake: Callable[[bytes], Any], agreed: bytes | None = None
) -> tuple[Scale, Prepared]:
    """Mean and deviation of each number of an example over all clients' rows, by what each client sends.

    Args:
        train: client -> its training inputs, [N, …].
        remake, agreed: as of ``scaled_together``.
    """
    rule = MomentsRule(int(np.prod(next(iter(train.values())).shape[1:])))
    sent = {client: moments_of(x).to_bytes() for client, x in train.items()}
    prepared = prepared_by(rule, sent, remake, agreed)
    return Scale(*rule.agreed(prepared.agreed)), prepared


def scaled(x: NDArray[Any], by: Scale | FeatureMoments) -> NDArray[np.float64]:
    """Inputs [N, …] with these statistics, less their mean and over their standard deviation."""
    return (x - by.mean.reshape(x.shape[1:])) / by.std.reshape(x.shape[1:])


def _positive(scale: NDArray[Any]) -> NDArray[Any]:
    """The scale, 1 where a feature is constant."""
    return np.where(scale > 0, scale, 1)
