"""MOCHA's steps on numbers: stochastic dual coordinate ascent of one task, and the covariance of all.

Smith, Chiang, Sanjabi, Talwalkar. NeurIPS 2017, Algorithm 1. arXiv:1705.10467
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fedmtl.algorithms.common.sweeps import sweep
from fedmtl.core.types import Batch, Params

PARTED = (
    "the server's sum of Δb_t and the client's α would part, Δb_t never being sent again, and the gap between primal "
    "and dual would not close"
)
"""Reason why no part of an upload may be lost for good."""


def rows(b: Mapping[str, Params]) -> Tensor:
    """All tasks of all clients as a matrix, [T, d]."""
    return torch.stack([value.reshape(-1) for heads in b.values() for value in heads.values()])


def by_task(values: Tensor, like: Mapping[str, Params]) -> dict[str, Params]:
    """A row for each task of each client, as in ``rows``, in the shapes of ``like``."""
    each = iter(values)
    return {k: {name: next(each).reshape(one.shape) for name, one in heads.items()} for k, heads in like.items()}


def covariance(w: Tensor, before: Tensor, floor: float) -> Tensor:
    """(1 − κ) (WWᵀ)^½ / tr (WWᵀ)^½ + κ I / T of W [T, d], κ = ``floor``; what it was before where W = 0."""
    u, s, _ = torch.linalg.svd(w.double(), full_matrices=False)
    if not float(s.sum()) > 0:
        return before
    root = (u * s) @ u.T / s.sum()
    return ((1 - floor) * root + floor * torch.eye(len(w), dtype=root.dtype) / len(w)).to(before.dtype)


def ascend(
    w: Tensor, scale: Tensor, alpha: Tensor, batches: Sequence[Batch], label: str, lam: float, epochs: int
) -> tuple[Tensor, Tensor]:
    """The new α and Δb of one task; an example without a label is not looked at. Example after example,

        α_i <- y_i clip₀₁(y_i α_i + λ n (1 − y_i x_iᵀ(w + scale Δb / λ)) / (scale ‖x_i‖²)),   Δb = 1/n Σ Δα_i x_i   (1)

    Args:
        w: the model [d], in any shape.
        scale: ρΣ_tt, a scalar.
        alpha: one number an example, by the batches' ``index``.
        batches: with the task's labels, 0 or 1, as ``label``.
        lam: λ.
        epochs: passes.
    """
    x, y, mask, index = (joined([batch[key] for batch in batches]) for key in ("x", label, "mask", "index"))
    given = (w.reshape(1, -1), scale.reshape(1), alpha[None], x.flatten(1)[None], y[None], mask[None], index[None])
    after, delta = sweep(*given, lam, epochs)
    return after[0], delta.reshape(w.shape)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Batches as one."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
