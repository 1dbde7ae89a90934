"""Local training: plain SGD as a pure function, and the batches it walks through."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
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
            step = lr * (batch["mask"].sum() > 0).float()
            w = {name: value - step * g[name] for name, value in w.items()}  # (1)
    return w


def num_examples(batches: Sequence[Batch]) -> Tensor:
    """n_k: how many examples one epoch holds, padding not counted; a scalar tensor."""
    return torch.stack([batch["mask"].sum() for batch in batches]).sum()


def make_batches(
    x: np.ndarray, y: dict[str, np.ndarray], batch_size: int | None, generator: np.random.Generator | None
) -> list[dict[str, Tensor]]:
    """One epoch, as batches of equal size of which the last is padded.

    Args:
        x: inputs, [N, …], N ≥ 1.
        y: task -> labels, [N] or [N, outputs].
        batch_size: examples a batch; None for one batch of all N.
        generator: shuffles; None keeps the order.
    """
    n = len(x)
    size = n if batch_size is None else batch_size
    steps = -(-n // size)
    order = np.arange(n) if generator is None else generator.permutation(n)
    index = np.zeros(steps * size, dtype=np.int64)  # padding repeats row 0: finite numbers that the mask hides
    index[:n] = order
    mask = torch.zeros(steps * size)
    mask[:n] = 1
    rows = torch.from_numpy(index)
    arrays: dict[str, Tensor] = {"x": torch.from_numpy(x)[rows], "index": rows, "mask": mask}
    for task, labels in y.items():
        arrays[f"y.{task}"] = torch.from_numpy(labels)[rows]
    cut = {key: value.reshape(steps, size, *value.shape[1:]) for key, value in arrays.items()}
    return [{key: value[step] for key, value in cut.items()} for step in range(steps)]
