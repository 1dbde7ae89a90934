"""Means over what is labelled and real.

NaN times zero is NaN, in values and in gradients. So what does not count is replaced *before* an
operation, never multiplied away after it.
"""

import torch
from torch import Tensor

ZERO = torch.zeros(())
"""The number in place of what does not count, of most values; made once, since each loss takes it several times."""


def labelled(y: Tensor, mask: Tensor) -> Tensor:
    """Mask of labels that count, of y's shape, [B] or [B, outputs]: y is not NaN and the example is not padding."""
    counts = mask > 0
    return (y == y) & (counts if y.ndim == mask.ndim else counts.reshape(mask.shape + (1,) * (y.ndim - mask.ndim)))


def finite(values: Tensor) -> Tensor:
    """Entries that are numbers: neither NaN nor infinite."""
    return values.abs() < torch.inf


def keep(values: Tensor, where: Tensor) -> Tensor:
    """``values`` where they count, 0 elsewhere; nothing flows back from elsewhere."""
    like_zero = values.dtype == ZERO.dtype and values.device == ZERO.device
    return torch.where(where, values, ZERO if like_zero else torch.zeros((), dtype=values.dtype, device=values.device))


def mean_over(values: Tensor, where: Tensor) -> Tensor:
    """Σ values / max(count, 1) over ``where``, a scalar: 0 with zero gradient when nothing counts."""
    weight = where.to(values.dtype)  # sums of floats are many times as fast as sums of booleans
    share = weight / weight.sum().clamp(min=1)
    return (keep(values, where) * share).sum()


def log_mean(log_p: Tensor, weights: Tensor) -> Tensor:
    """log Σ_m v_m exp(log_p_m) over the first dimension.

    Args:
        log_p: of M models, [M, …].
        weights: v [M], ≥ 0. A model of weight 0 is not looked at, so its numbers may be NaN.
    """
    shape = (-1,) + (1,) * (log_p.ndim - 1)
    terms = torch.where((weights > 0).reshape(shape), log_p + weights.log().reshape(shape), -torch.inf)
    return torch.logsumexp(terms, 0)


def counts(*columns: Tensor) -> Tensor:
    """Σ of each column, stacked, float64 [columns]: sufficient statistics that add exactly."""
    return torch.stack([column.to(torch.float64).sum() for column in columns])
