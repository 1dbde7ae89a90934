"""Local training: plain SGD as a pure function, and the batches it walks through."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad

from fedmtl.types import Batch, Params


def sgd(
    loss: Callable[[Params, Batch], Tensor], params: Params, batches: Sequence[Batch], lr: float, epochs: int = 1
) -> dict[str, Tensor]:
    """Stochastic gradient descent, ``epochs`` passes over ``batches``:

        w <- w − η 1[batch holds an example] ∇ loss(w, batch)                    (1)

    The indicator makes a padded batch change nothing, also when the loss has terms that do not come from
    examples (a proximal term, weight decay). Pure and safe under ``torch.vmap``.
    """
    w = dict(params)
    gradient = grad(loss)
    for _ in range(epochs):
        for batch in batches:
            g = gradient(w, batch)
            step = -lr * (batch["mask"].sum() > 0).float()
            w = {name: torch.addcmul(value, step, g[name]) for name, value in w.items()}  # (1), in one pass
    return w


def num_examples(batches: Sequence[Batch]) -> Tensor:
    """n_k: how many examples one epoch holds, padding not counted; a scalar tensor."""
    return torch.stack([batch["mask"].sum() for batch in batches]).sum()


def epoch_index(
    sizes: NDArray[np.int64], order: NDArray[np.int64] | None, batch_size: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of its examples each of K clients sees where: index and mask, [steps, K, B].

    Batches have equal size; what lies beyond a client's examples is padding: mask 0, and index 0, so that the
    numbers there are finite.

    Args:
        sizes: examples of each client, [K], each ≥ 1.
        order: row k begins with an order of client k's examples, [K, max size]; None keeps them as they are.
        batch_size: B; None for one batch of the largest size.
    """
    longest = int(sizes.max())
    size = longest if batch_size is None else batch_size
    steps = -(-longest // size)
    real = np.arange(steps * size) < sizes[:, None]
    index = np.zeros(real.shape, np.int64)
    index[:, :longest] = np.arange(longest) if order is None else order[:, :longest]
    index[~real] = 0
    shape = (len(sizes), steps, size)
    return index.reshape(shape).swapaxes(0, 1), real.astype(np.float32).reshape(shape).swapaxes(0, 1)


def make_batches(
    x: NDArray[Any], y: Mapping[str, NDArray[Any]], batch_size: int | None, order: NDArray[np.int64] | None
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
