"""Layout of a stack of clients in memory.

A cohort's images [K, B, C, H, W] are held as one batch of B images of K·C channels, the channels of a pixel next to
each other (channels-last). Then one call of an ordinary kernel serves all clients and its inner loop runs over K·C
numbers in a row. Results are returned as views, so that the next layer has its layout without a copy.
"""

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def front(x: Tensor, dim: int | None, clients: int) -> Tensor:
    """Return the clients first, [K, …]; a shared tensor is repeated without a copy."""
    return x.expand(clients, *x.shape) if dim is None else x.movedim(dim, 0)


def rows(x: Tensor, dim: int | None, clients: int) -> Tensor:
    """Map [N, …] of each client, stacked along ``dim``, to [K·N, …]."""
    return front(x, dim, clients).flatten(0, 1)


def pack(x: Tensor, dim: int | None, clients: int) -> Tensor:
    """Map [B, C, …] of each client, stacked along ``dim``, to [B, K·C, …], channels-last; a view if possible.

    A signal [B, C, T] becomes an image of height 1, because only images have a channels-last format.
    """
    x = x.unsqueeze(1).expand(-1, clients, *x.shape[1:]) if dim is None else x.movedim(dim, 1)
    packed = x.flatten(1, 2)
    if packed.ndim == 3:
        packed = packed.unsqueeze(2)
    # Not contiguous(memory_format=…), which torch does not support inside a second vmap.
    return packed.movedim(1, -1).contiguous().movedim(-1, 1)


def unpack(y: Tensor, clients: int, signal: bool = False) -> Tensor:
    """Map [B, K·C, …] to a view [B, K, C, …]; a signal loses the height."""
    return (y.squeeze(2) if signal else y).unflatten(1, (clients, -1))


def clone(
    info: Any, in_dims: Any, x: Tensor, *, memory_format: torch.memory_format | None = None
) -> tuple[Tensor, int]:
    """Rule of ``aten::clone``. torch's own rule has no channels-last, which it requests for this layout."""
    if memory_format in (torch.channels_last, torch.channels_last_3d):
        return unpack(aten.clone(pack(x, in_dims[0], info.batch_size)), info.batch_size), 1
    if memory_format == torch.contiguous_format:
        return aten.clone(x.movedim(in_dims[0], 0), memory_format=memory_format), 0
    return aten.clone(x, memory_format=memory_format), in_dims[0]


def split(*pairs: tuple[Any, int | None]) -> tuple[tuple[Any, ...], tuple[int | None, ...]]:
    """Map (result, its dimension), … to results, dimensions: torch's form of several results of a rule."""
    results, dims = zip(*pairs, strict=True)
    return results, dims


def apply(function: type[torch.autograd.Function], *args: Any) -> Any:
    """``function.apply(*args)``, which torch declares without a type."""
    return function.apply(*args)  # pyright: ignore[reportGeneralTypeIssues]
