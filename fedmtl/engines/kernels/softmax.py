"""log-softmax over a few classes, with the classes outermost in memory.

torch's kernel for a last dimension shorter than a vector register processes one number at a time, about ten times as
slowly as its kernel for other dimensions, which processes many examples at once.
"""

from typing import Any

import torch
from torch import Tensor

from fedmtl.engines.kernels.packing import aten, front

FEW = 16
"""Number of float32 that fills a register."""


def log_softmax(info: Any, in_dims: Any, x: Tensor, dim: int, half_to_float: bool) -> tuple[Tensor, int]:
    """Rule of ``aten::_log_softmax``."""
    x, dim, back = _classes(x.movedim(in_dims[0], 0), dim)
    return back(aten._log_softmax(x, dim, half_to_float)), 0


def log_softmax_backward(
    info: Any, in_dims: Any, grad: Tensor, y: Tensor, dim: int, dtype: torch.dtype
) -> tuple[Tensor, int]:
    """Rule of ``aten::_log_softmax_backward_data``."""
    stacked = (front(t, d, info.batch_size) for t, d in zip((grad, y), in_dims[:2], strict=True))
    (grad, at, back), (y, _, _) = (_classes(t, dim) for t in stacked)
    return back(aten._log_softmax_backward_data(grad, y, at, dtype)), 0


def _classes(x: Tensor, dim: int) -> tuple[Tensor, int, Any]:
    """Return the stack [K, …] in the kernel's fast layout, the dimension of the classes in it, and the inverse map."""
    single = x.ndim == 1  # clients of one number each
    at = dim % max(x.ndim - 1, 1) + 1
    if single or at != x.ndim - 1 or x.shape[at] >= FEW:
        return (x, at, lambda y: y) if not single else (x.unsqueeze(1), 1, lambda y: y.squeeze(1))
    return x.movedim(at, 0).contiguous(), 0, lambda y: y.movedim(0, at)
