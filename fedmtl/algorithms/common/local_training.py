"""Local training: gradient descent as a pure function."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from fedmtl.algorithms.common.companions import Companions, companions
from fedmtl.algorithms.common.gradient import gradient_of
from fedmtl.algorithms.common.training_loss import keep_loss, losses_are_kept
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


_ONE_PASS: ContextVar[bool] = ContextVar("one_pass", default=False)


@contextmanager
def one_pass() -> Iterator[None]:
    """Within, ``sgd`` makes one pass whatever its ``epochs``, for who asks what a round returns and not for numbers."""
    token = _ONE_PASS.set(True)
    try:
        yield
    finally:
        _ONE_PASS.reset(token)


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
    gradient, retraction = gradient_of(_with_loss(loss, params, beside)), _RETRACTION.get()
    kept = counts and losses_are_kept()
    total = None
    sizes = [batch["mask"].sum() for batch in batches]
    holds = [n > 0 for n in sizes]
    steps = [-lr * real.float() for real in holds]
    for epoch in range(min(epochs, 1) if _ONE_PASS.get() else epochs):
        for number, (batch, n, real, step) in enumerate(zip(batches, sizes, holds, steps, strict=True)):
            with training_step(ctx, epoch, number):
                slope, (value, handed) = gradient(w, held, batch)
            if kept:
                total = n * value if total is None else torch.addcmul(total, n, value)
            d, new = chosen.direction(state, slope, w, t)  # (1)
            pairs = zip(tree_leaves(new), tree_leaves(state), strict=True)
            state = tree_unflatten(new, [torch.where(real, one, other) for one, other in pairs])
            w = {name: torch.addcmul(value, step, d[name]) for name, value in w.items()}  # (2), in one pass
            if retraction is not None:
                w |= {name: torch.where(real, value, w[name]) for name, value in retraction(w).items()}
            held = {name: torch.where(real, handed.get(name, value), value) for name, value in held.items()}
            if beside is not None:
                beside.params = {name: held[name] if name in held else w[name] for name in beside.params}
    if total is not None:
        keep_loss(total, epochs * torch.stack(sizes).sum())
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
