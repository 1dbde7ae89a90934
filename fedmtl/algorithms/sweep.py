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

Array = NDArray[Any]


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
    ws, scales, alphas, xs, ys, masks, places = (t.detach().cpu().numpy() for t in (w, scale, alpha, x, y, mask, index))
    kind = ws.dtype
    seen = (masks > 0) & (ys == ys)
    sign = np.where(seen, 2 * ys.astype(kind) - 1, kind.type(0))  # labels 0 and 1 are −1 and 1; 0 is no label
    count = seen.sum(1).clip(min=1).astype(kind)
    z = sign[:, :, None] * xs.astype(kind, copy=False)
    rows = np.arange(len(ws))[:, None]
    first = sign * alphas[rows, places]  # yα of each example
    slack = 1 - np.einsum("tnd,td->tn", z, ws)
    size = scales[:, None] * np.einsum("tnd,tnd->tn", z, z)
    step = kind.type(lam) * count
    with np.errstate(over="ignore"):  # an example of zeros has its α at the end of its range after any step
        gain = np.where(seen, step[:, None] / np.where(size > 0, size, np.finfo(kind).tiny), kind.type(0))
    passes = _one_task if len(ws) == 1 else _several_tasks
    after, moved = passes(first, z, scales / step, slack, gain, epochs)
    new = alphas.copy()
    np.add.at(new, (rows, places), sign * (after - first))
    return torch.from_numpy(new).to(w.device), torch.from_numpy(moved / count[:, None]).to(w.device)


def _several_tasks(first: Array, z: Array, pull: Array, slack: Array, gain: Array, epochs: int) -> tuple[Array, Array]:
    """yα and Σ Δα_i x_i of each, example after example, all tasks at once."""
    zs, slacks, gains, now = (np.array(a.swapaxes(0, 1), order="C") for a in (z, slack, gain, first))
    pulls = pull[:, None] * zs
    moved = np.zeros_like(zs[0])
    for _ in range(epochs):
        for i, (z_i, pull_i, slack_i, gain_i) in enumerate(zip(zs, pulls, slacks, gains, strict=True)):
            better = slack_i - (pull_i * moved).sum(1)
            better *= gain_i
            better += now[i]
            np.minimum(np.maximum(better, 0, out=better), 1, out=better)
            moved += (better - now[i])[:, None] * z_i
            now[i] = better
    return now.T, moved


def _one_task(first: Array, z: Array, pull: Array, slack: Array, gain: Array, epochs: int) -> tuple[Array, Array]:
    """The same of one, by Python's own numbers: a call of numpy costs ten times one of theirs. What an example has left
    is known from the others' inner products with it; where there are too many of those, from Σ Δα_i x_i."""
    seen = np.flatnonzero(gain[0])  # padding must not change a bit of any sum
    rows, begin = z[0, seen], first[0, seen]
    now, gains = begin.tolist(), gain[0, seen].tolist()
    narrow = len(rows) <= GRAM
    lines = (pull[0] * (rows @ rows.T)) if narrow else pull[0] * rows
    left, moved = slack[0, seen], np.zeros_like(rows[0])
    for _ in range(epochs):
        for i, gain_i in enumerate(gains):
            old = now[i]
            rest = left.item(i) if narrow else left.item(i) - float(lines[i].dot(moved))
            better = old + gain_i * rest
            better = 0.0 if better < 0 else 1.0 if better > 1 else better
            if better == old:
                continue
            if narrow:
                left -= (better - old) * lines[i]
            else:
                moved += (better - old) * rows[i]
            now[i] = better
    after, ends = first.copy(), np.array(now, first.dtype)
    after[0, seen] = ends
    return after, ((ends - begin) @ rows if narrow else moved)[None]


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
