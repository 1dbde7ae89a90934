"""Stochastic dual coordinate ascent of many tasks, as one operation of torch.

In torch's own operations a pass over 50 examples is some 400 of them, on a few numbers each, and every one costs far
more than its arithmetic. Here a pass is one operation: for torch.vmap it takes all tasks at once, for a recording it is
one entry.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GRAM = 512
"""Examples up to which a task alone holds its inner products: a step then is one line of them."""

AnyArray = NDArray[Any]


def _sweep(
    w: Tensor,
    scale: Tensor,
    alpha: Tensor,
    x: Tensor,
    y: Tensor,
    mask: Tensor,
    index: Tensor,
    lam: float,
    epochs: int,
) -> tuple[Tensor, Tensor]:
    """(1) of ``dual.ascend`` for T tasks: the new α [T, N] and Δb [T, d].

    Args:
        w: [T, d].
        scale: [T].
        alpha: [T, N].
        x: [T, n, d].
        y: labels 0 and 1, NaN where there is none, [T, n].
        mask: 0 for padding, [T, n].
        index: of each example in α, [T, n].
        lam: λ.
        epochs: passes.
    """
    given: list[Any] = [t.detach().cpu().numpy() for t in (w, scale, alpha, x, y, mask, index)]
    if len(w) == 1:
        one = _one_task(*[array[0] for array in given], lam=lam, epochs=epochs)
        new, delta = one[0][None], one[1][None]
    else:
        new, delta = _several_tasks(*given, lam=lam, epochs=epochs)
    return torch.from_numpy(new).to(w.device), torch.from_numpy(delta).to(w.device)


def _several_tasks(
    w: AnyArray,
    scale: AnyArray,
    alpha: AnyArray,
    x: AnyArray,
    y: AnyArray,
    mask: AnyArray,
    index: AnyArray,
    lam: float,
    epochs: int,
) -> tuple[AnyArray, AnyArray]:
    """``_sweep``, example after example, all tasks at once."""
    kind = w.dtype
    seen = (mask > 0) & (y == y)
    sign = np.where(seen, 2 * y.astype(kind) - 1, kind.type(0))  # labels 0 and 1 are −1 and 1; 0 is no label
    count = seen.sum(1).clip(min=1).astype(kind)
    z = sign[:, :, None] * x.astype(kind, copy=False)
    rows = np.arange(len(w))[:, None]
    first = sign * alpha[rows, index]  # yα of each example
    slack = 1 - np.einsum("tnd,td->tn", z, w)
    size = scale[:, None] * np.einsum("tnd,tnd->tn", z, z)
    step = kind.type(lam) * count
    with np.errstate(over="ignore"):  # an example of zeros has its α at the end of its range after any step
        gain = np.where(seen, step[:, None] / np.where(size > 0, size, np.finfo(kind).tiny), kind.type(0))
    zs, slacks, gains, now = (np.array(a.swapaxes(0, 1), order="C") for a in (z, slack, gain, first))
    pulls = (scale / step)[:, None] * zs
    moved = np.zeros_like(zs[0])
    for _ in range(epochs):
        for i, (z_i, pull_i, slack_i, gain_i) in enumerate(zip(zs, pulls, slacks, gains, strict=True)):
            better = slack_i - (pull_i * moved).sum(1)
            better *= gain_i
            better += now[i]
            np.minimum(np.maximum(better, 0, out=better), 1, out=better)
            moved += (better - now[i])[:, None] * z_i
            now[i] = better
    new = alpha.copy()
    np.add.at(new, (rows, index), sign * (now.T - first))
    return new, moved / count[:, None]


def _one_task(
    w: AnyArray,
    scale: AnyArray,
    alpha: AnyArray,
    x: AnyArray,
    y: AnyArray,
    mask: AnyArray,
    index: AnyArray,
    lam: float,
    epochs: int,
) -> tuple[AnyArray, AnyArray]:
    """``_sweep`` of one task, by Python's own numbers: a call of numpy costs ten times one of theirs.

    What an example has left is known from its inner products with the others and their changes, one call an example;
    where there are too many of those, from Σ Δα_i x_i.
    """
    kind = w.dtype
    seen = np.flatnonzero((mask > 0) & (y == y))  # padding must not change a bit of any sum
    sign, place = 2 * y[seen].astype(kind) - 1, index[seen]
    z = sign[:, None] * x[seen].astype(kind, copy=False)
    begin = sign * alpha[place]
    narrow, step = len(z) <= GRAM, kind.type(lam * max(len(z), 1))
    products = z @ z.T if narrow else z
    size = scale * (products.diagonal() if narrow else np.einsum("nd,nd->n", z, z))
    with np.errstate(over="ignore"):  # as above
        gains = (step / np.where(size > 0, size, np.finfo(kind).tiny)).tolist()
    lines, slacks = list((scale / step) * products), (1 - z @ w).tolist()
    now, starts = begin.tolist(), begin.tolist()
    change = np.zeros(len(z) if narrow else z.shape[1], kind)
    for _ in range(epochs):
        for i, (line, slack, gain) in enumerate(zip(lines, slacks, gains, strict=True)):
            old = now[i]
            better = old + gain * (slack - float(line.dot(change)))
            better = 0.0 if better < 0 else 1.0 if better > 1 else better
            if better == old:
                continue
            if narrow:
                change[i] = better - starts[i]
            else:
                change += (better - old) * z[i]
            now[i] = better
    new = alpha.copy()
    np.add.at(new, place, sign * (np.array(now, kind) - begin))
    return new, (change @ z if narrow else change) / max(len(z), 1)


def _stacked(info: Any, in_dims: Sequence[int | None], *given: Any) -> Any:
    """K calls of T tasks are one of K T."""
    *tensors, lam, epochs = given
    count = info.batch_size
    stacked = [
        tensor.expand(count, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip(tensors, in_dims, strict=False)
    ]
    tasks = stacked[0].shape[1]
    alpha, delta = sweep(*[tensor.flatten(0, 1) for tensor in stacked], lam, epochs)
    return (alpha.unflatten(0, (count, tasks)), delta.unflatten(0, (count, tasks))), (0, 0)


# Not by torch.library.custom_op, whose wrapper costs more than a pass over 50 examples.
_LIBRARY = torch.library.Library("fedmtl", "DEF")
_LIBRARY.define(
    "sdca_sweep(Tensor w, Tensor scale, Tensor alpha, Tensor x, Tensor y, Tensor mask, Tensor index, float lam, "
    "int epochs) -> (Tensor, Tensor)"
)
_LIBRARY.impl("sdca_sweep", _sweep, "CompositeExplicitAutograd")
_LIBRARY.impl("sdca_sweep", lambda w, scale, alpha, *_: (torch.empty_like(alpha), torch.empty_like(w)), "Meta")
torch.library.register_vmap("fedmtl::sdca_sweep", _stacked, lib=_LIBRARY)


def sweep(*given: Any) -> tuple[Tensor, Tensor]:
    """The operation, for arguments as in ``_sweep``; under torch.vmap, [K, T, …]."""
    return torch.ops.fedmtl.sdca_sweep(*given)
