"""Local training: gradient descent as a pure function, and the batches it walks through."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad

from fedmtl.algorithms.common.companions import Companions, companions
from fedmtl.core.buffers import buffers, buffers_handed, trainable
from fedmtl.core.context import NO_CONTEXT, Context, training_step
from fedmtl.core.trees import tree_leaves, tree_unflatten
from fedmtl.core.types import Batch, Params
from fedmtl.optimizers import SGD, Optimizer

Objective = Callable[[Params, Batch], Tensor | tuple[Tensor, Tensor]]
"""Objective of a descent, a scalar; or (objective, loss), where it holds more than the loss."""

Retraction = Callable[[Params], Params]
"""Parameters after a step -> those of them that a constraint replaces, by name."""

_RETRACTION: ContextVar[Retraction | None] = ContextVar("retraction", default=None)


@contextmanager
def retracted(retraction: Retraction | None) -> Iterator[None]:
    """Within, each step of ``sgd`` ends with ``retraction``: for a wrapper whose parameters obey a constraint, however
    the algorithm inside makes its objectives."""
    token = _RETRACTION.set(retraction)
    try:
        yield
    finally:
        _RETRACTION.reset(token)


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


UNSCHEDULED = torch.zeros(())
"""Round for optimizers without a schedule, which do not read it."""


def sgd(
    loss: Objective,
    params: Params,
    batches: Sequence[Batch],
    lr: float,
    epochs: int = 1,
    optimizer: Optimizer | None = None,
    counts: bool = True,
    ctx: Context = NO_CONTEXT,
) -> dict[str, Tensor]:
    """Stochastic gradient descent, ``epochs`` passes over ``batches``:

        d, s <- direction(s, ∇ loss(w, batch), w, t)        s first init(params); SGD(), without one: d = ∇ loss   (1)
        w    <- w − η 1[batch holds an example] d           s stays as it was where there is none                  (2)

    The indicator makes a padded batch change nothing, also when the loss has terms that do not come from
    examples (a proximal term, weight decay). Pure and safe under ``torch.vmap``. Within ``retracted``, (2) ends with
    the retraction, under the same indicator.

    Within ``losses_kept``, the losses of its steps are counted: an objective that holds more than the loss, such as a
    proximal term, returns (objective, loss). ``counts`` is false for a model that the client does not predict with,
    beside one that it does.

    Buffers among the parameters have no gradient: a step replaces them by those that the loss hands back, see
    ``fedmtl.core.buffers``.

    Scheduled optimizers read t, the round, from ``ctx``, and layers that draw, such as dropout, draw from
    ``ctx.fold(epoch).fold(batch)``. A second descent of one round is given a purpose: ``ctx=ctx.fold("head")``.

    Raises:
        NoContext: a scheduled optimizer, or a layer that draws, and no ``ctx``.
    """
    chosen = SGD() if optimizer is None else optimizer
    t = ctx.round if chosen.traits.scheduled else UNSCHEDULED
    beside = companions()
    every = params if beside is None else {**beside.params, **params}
    w, held = trainable(every), buffers(every)
    state = chosen.init(w)
    gradient, retraction = grad(_with_loss(loss, params, beside), has_aux=True), _RETRACTION.get()
    kept = _LOSSES.get() if counts else None
    total = None
    for epoch in range(epochs):
        for number, batch in enumerate(batches):
            n = batch["mask"].sum()
            real = n > 0
            with training_step(ctx.fold(epoch).fold(number)):
                slope, (value, handed) = gradient(w, held, batch)
            if kept is not None:
                total = n * value if total is None else torch.addcmul(total, n, value)
            d, new = chosen.direction(state, slope, w, t)  # (1)
            pairs = zip(tree_leaves(new), tree_leaves(state), strict=True)
            state = tree_unflatten(new, [torch.where(real, one, other) for one, other in pairs])
            step = -lr * real.float()
            w = {name: torch.addcmul(value, step, d[name]) for name, value in w.items()}  # (2), in one pass
            if retraction is not None:
                w |= {name: torch.where(real, value, w[name]) for name, value in retraction(w).items()}
            held = {name: torch.where(real, handed.get(name, value), value) for name, value in held.items()}
            if beside is not None:
                beside.params = {name: held[name] if name in held else w[name] for name in beside.params}
    if kept is not None and total is not None:
        kept.append(Losses(total, epochs * num_examples(batches)))  # which a recording has worked out already
    if not held and beside is None:
        return w
    return {name: held[name] if name in held else w[name] for name in params}


def _with_loss(
    objective: Objective, names: Params, beside: Companions | None
) -> Callable[[Params, Params, Batch], tuple[Tensor, tuple[Tensor, Params]]]:
    """Return the objective, the loss in it, and the buffers that it hands back."""

    def both(w: Params, held: Params, batch: Batch) -> tuple[Tensor, tuple[Tensor, Params]]:
        params = {**w, **held}
        if beside is not None:
            beside.params = {name: params[name] for name in beside.params}
            params = {name: params[name] for name in names}
        with buffers_handed() as handed:
            found = objective(params, batch)
        value, loss = found if isinstance(found, tuple) else (found, found)
        return value, (loss, {name: new.detach() for name, new in handed.items() if name in held})

    return both


def num_examples(batches: Sequence[Batch]) -> Tensor:
    """n_k: how many examples one epoch holds, padding not counted; a scalar tensor."""
    return torch.stack([batch["mask"].sum() for batch in batches]).sum()


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
