"""The dense layer: a cohort's is one batched product that starts from the bias."""

from typing import Any

import torch
from torch import Tensor

from fedmtl.engines.layers.packing import aten, front


def addmm(
    info: Any, in_dims: Any, bias: Tensor, x: Tensor, weight: Tensor, *, beta: float = 1, alpha: float = 1
) -> tuple[Tensor, int]:
    """The rule of ``aten::addmm``: beta·bias + alpha·x @ weight; x [B, I], weight [I, O], bias at most [B, O]."""
    bias_dim, x_dim, weight_dim = in_dims[:3]
    if bias_dim is not None:
        bias = bias.movedim(bias_dim, 0)
        bias = bias.reshape(len(bias), *(1,) * (3 - bias.ndim), *bias.shape[1:])
    elif x_dim is not None and weight_dim is None and bias.ndim == 1:
        # A layer that all clients share sees their examples as one batch.
        x = x.movedim(x_dim, 0)
        return aten.addmm(bias, x.flatten(0, 1), weight, beta=beta, alpha=alpha).unflatten(0, x.shape[:2]), 0
    x, weight = front(x, x_dim, info.batch_size), front(weight, weight_dim, info.batch_size)
    return torch.baddbmm(bias, x, weight, beta=beta, alpha=alpha), 0
