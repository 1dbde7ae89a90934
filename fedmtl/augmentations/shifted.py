"""Examples moved along an axis, each by its own number of places."""

import torch
from torch import Tensor


def shifted(x: Tensor, places: Tensor, axis: int, edge: bool) -> Tensor:
    """Move each example along an axis.

    Args:
        x: [B, …].
        places: to the right, whole numbers, [B] int64.
        axis: −1 is the last.
        edge: places that become free repeat the number at the edge; else they are 0.
    """
    size = x.shape[axis]
    index = torch.arange(size, device=x.device) - places[:, None]  # [B, size]
    inside = (index >= 0) & (index < size)
    wide = [x.shape[0], *[1] * (x.dim() - 1)]
    wide[axis] = size
    source = index.clamp(0, size - 1).reshape(wide).expand(x.shape)
    moved = torch.gather(x, axis, source)
    return moved if edge else torch.where(inside.reshape(wide), moved, torch.zeros_like(moved))


def drawn_places(uniform: Tensor, most: int) -> Tensor:
    """Whole numbers from −most to most, equally probable, int64, from numbers in [0, 1)."""
    return (uniform * (2 * most + 1)).floor().to(torch.int64) - most
