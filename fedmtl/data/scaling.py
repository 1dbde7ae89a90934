"""Inputs with mean 0 and standard deviation 1 over training examples, of one client or of all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.moments import FeatureMoments, merge, moments_from_bytes, moments_of
from fedmtl.data.prepared import Prepared, exchanged

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


def scaled_together(parts: Sequence[Pair]) -> tuple[list[Pair], Prepared]:
    """The inputs of clients 0, 1, … by one scale, that of all training parts, and what they sent to agree on it."""
    total, prepared = pooled_moments({client: train for client, (train, _) in enumerate(parts)})
    return [(scaled(train, total), scaled(test, total)) for train, test in parts], prepared


def pooled_moments(train: dict[int, NDArray[Any]]) -> tuple[FeatureMoments, Prepared]:
    """Mean and variance of each number of an example over all clients' rows, by what each client sends.

    Args:
        train: client -> its training inputs, [N, …].
    """
    sent = {client: moments_of(x).to_bytes() for client, x in train.items()}
    features = int(np.prod(next(iter(train.values())).shape[1:]))
    total = merge([moments_from_bytes(sent[client], features) for client in sorted(sent)])
    agreed = np.stack([total.mean, total.std]).astype("<f8").tobytes()
    return total, exchanged(sent, agreed)


def scaled(x: NDArray[Any], by: FeatureMoments) -> NDArray[np.float64]:
    """Inputs [N, …] with these statistics, less their mean and over their standard deviation."""
    return (x - by.mean.reshape(x.shape[1:])) / by.std.reshape(x.shape[1:])


def _positive(scale: NDArray[Any]) -> NDArray[Any]:
    """The scale, 1 where a feature is constant."""
    return np.where(scale > 0, scale, 1)
