"""Layers of trunks as rows of numbers, and rows that are weights of a mean."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fedmtl.core.buffers import is_buffer
from fedmtl.core.types import Params


def layer_of(name: str) -> str:
    """Return a parameter's name without its last part: weights and biases of a layer belong together."""
    return name.rpartition(".")[0]


def rows(trunks: Mapping[str, Params], clients: Sequence[str], layer: str) -> Tensor:
    """A layer of each client's trunk, [K, d] float64."""
    return torch.stack([torch.cat([w.double().flatten() for w in _of(trunks[k], layer).values()]) for k in clients])


def trained(vectors: Tensor, like: Params, layer: str) -> Tensor:
    """Rows of a layer [K, d] with 0 for its buffers, which no gradient moves."""
    parts = _of(like, layer).items()
    held = torch.cat([torch.full((w.numel(),), is_buffer(name)) for name, w in parts])
    return vectors.masked_fill(held, 0)


def shaped(vector: Tensor, like: Params, layer: str) -> dict[str, Tensor]:
    """A row [d] as a layer of such a trunk."""
    parts = _of(like, layer)
    pieces = vector.split([w.numel() for w in parts.values()])
    return {name: piece.reshape(w.shape).to(w) for (name, w), piece in zip(parts.items(), pieces, strict=True)}


def _of(trunk: Params, layer: str) -> dict[str, Tensor]:
    return {name: trunk[name] for name in sorted(trunk) if layer_of(name) == layer}


def simplex(v: Tensor) -> Tensor:
    """For each row of v [K, L] the nearest row that is ≥ 0 and sums to 1, which is max(v − τ, 0) for one τ.

    Duchi, Shalev-Shwartz, Singer, Chandra. ICML 2008, figure 1: with u the sorted row, falling,

        τ = max over j of (u_1 + … + u_j − 1) / j                                (1)
    """
    u = v.sort(dim=1, descending=True).values
    tau = ((u.cumsum(1) - 1) / torch.arange(1, v.shape[1] + 1, dtype=v.dtype)).amax(1, keepdim=True)  # (1)
    return (v - tau).clamp(min=0)
