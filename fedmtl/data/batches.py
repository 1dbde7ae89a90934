"""Epochs of clients, cut into batches of equal size."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def epoch_index(
    sizes: NDArray[np.int64], order: NDArray[np.int64] | None, batch_size: int | None, least: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the order in which K clients see their examples: index and mask, [steps, K, B].

    Batches have equal size; what lies beyond a client's examples is padding: mask 0, and index 0, so that the
    numbers there are finite.

    Args:
        sizes: examples of each client, [K], each ≥ 1.
        order: row k begins with an order of client k's examples, [K, max size]; None keeps them as they are.
        batch_size: B; None, or the largest size and more, for one batch of the largest size.
        least: B is not below it, so that some of many clients get batches as large as those of all.
    """
    longest = int(sizes.max())
    size = longest if batch_size is None else min(batch_size, max(longest, least or 1))
    steps = -(-longest // size)
    real = np.arange(steps * size) < sizes[:, None]
    index = np.zeros(real.shape, np.int64)
    index[:, :longest] = np.arange(longest) if order is None else order[:, :longest]
    index[~real] = 0
    shape = (len(sizes), steps, size)
    return index.reshape(shape).swapaxes(0, 1), real.astype(np.float32).reshape(shape).swapaxes(0, 1)


def make_batches(
    x: NDArray[Any],
    y: Mapping[str, NDArray[Any]],
    batch_size: int | None,
    order: NDArray[np.int64] | None,
) -> list[dict[str, Tensor]]:
    """One epoch of one client, as batches of equal size of which the last is padded.

    Args:
        x: inputs, [N, …], N ≥ 1.
        y: task -> labels, [N] or [N, outputs].
        batch_size: examples a batch; None for one batch of all N.
        order: in which order, a permutation of 0, …, N − 1; None as they are.
    """
    index, mask = epoch_index(np.array([len(x)]), None if order is None else order[None], batch_size)
    rows = torch.from_numpy(np.ascontiguousarray(index[:, 0]))
    arrays = {"x": x, **{f"y.{task}": labels for task, labels in y.items()}}
    cut = {key: torch.from_numpy(value)[rows] for key, value in arrays.items()}
    cut |= {"index": rows, "mask": torch.from_numpy(np.ascontiguousarray(mask[:, 0]))}
    return [{key: value[step] for key, value in cut.items()} for step in range(len(rows))]
