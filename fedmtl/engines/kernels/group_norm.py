"""Group normalisation as sums per channel and one multiply-add; a cohort's has K·C channels in K·G groups.

    y = x·s + t,   s = weight·r,   t = bias − m·s,   m, v = mean and variance of a group,   r = 1/√(v + eps)      (1)
    ∂x = r·(u − ū − z·mean(u·z)),   u = ∂y·weight,   z = (x − m)·r,   means over the group                        (2)

torch's own kernel takes several times as long for a cohort's many narrow groups in channels-last, and its gradient
under ``torch.func.grad`` is a chain of operators on whole images. Here images meet only sums over pixels and (1), (2).
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fedmtl.engines.kernels.packing import apply, front, pack, rows, unpack


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Replace ``aten::group_norm``; x [B, C, …]."""
    if x.ndim != 4:
        return group_norm(x.reshape(*x.shape[:2], 1, -1), num_groups, weight, bias, eps).reshape(x.shape)
    weight = x.new_ones(x.shape[1]) if weight is None else weight
    bias = x.new_zeros(x.shape[1]) if bias is None else bias
    return apply(_GroupNorm, x, weight, bias, num_groups, eps)[0]


def forward(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, m [B, G, 1] and r [B, G, 1] of (1); x [B, C, H, W]."""
    by_group, by_channel, size = _views(x, groups)
    m = by_group(x.sum((2, 3))).sum(-1, keepdim=True) / size
    square = by_group((x * x).sum((2, 3))).sum(-1, keepdim=True) / size
    r = (square - m * m).clamp(min=0).add(eps).rsqrt()
    s = by_group(weight[None]) * r
    t = by_group(bias[None]) - m * s
    return torch.addcmul(by_channel(t), x, by_channel(s)), m, r  # (1)


def backward(
    grad: Tensor, by_m: Tensor, by_r: Tensor, x: Tensor, weight: Tensor, m: Tensor, r: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradients by x, weight and bias; by_m and by_r are nonzero only for a gradient of a gradient."""
    by_group, by_channel, size = _views(x, groups)
    w = by_group(weight[None])
    total = by_group(grad.sum((2, 3)))
    along = (by_group((grad * x).sum((2, 3))) - m * total) * r  # Σ over pixels of ∂y·z
    slope = r * r * (w * along).sum(-1, keepdim=True) / size + by_r * r**3 / size
    shift = m * slope - r * (w * total).sum(-1, keepdim=True) / size + by_m / size
    rest = torch.addcmul(by_channel(shift.expand_as(total)), x, by_channel(-slope.expand_as(total)))
    by_x = torch.addcmul(rest, grad, by_channel(w * r))  # (2), gathered by grad, x and 1
    return by_x, along.sum(0).flatten(), total.sum(0).flatten()


def _views(x: Tensor, groups: int) -> tuple[Any, Any, int]:
    """Return the maps [., C] -> [., G, C/G] and [B, G, C/G] -> [B, C, 1, 1], and the size of a group."""
    channels = x.shape[1]
    size = x.shape[2] * x.shape[3] * channels // groups
    return (lambda t: t.unflatten(1, (groups, -1))), (lambda t: t.reshape(-1, channels, 1, 1)), size


class _GroupNorm(Function):
    @staticmethod
    def forward(*args: Any) -> Any:
        return forward(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, _, ctx.groups, _ = inputs
        ctx.save_for_backward(x, weight, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return *apply(_GroupNormBackward, *grad_outputs, *ctx.saved_tensors, ctx.groups), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        (x, weight, bias, groups, eps), k = args, info.batch_size
        packed = pack(x, in_dims[0], k), rows(weight, in_dims[1], k), rows(bias, in_dims[2], k)
        return tuple(unpack(t, k) for t in apply(_GroupNorm, *packed, k * groups, eps)), (1, 1, 1)


class _GroupNormBackward(Function):
    @staticmethod
    def forward(*args: Any) -> Any:
        return backward(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.groups = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        again = partial(backward, groups=ctx.groups)
        return *torch.func.vjp(again, *ctx.saved_tensors)[1](grad_outputs), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        k = info.batch_size
        grad, by_m, by_r, x, weight, m, r = (
            rows(t, dim, k) if i == 4 else _stats(t, dim, k) if i in (1, 2, 5, 6) else pack(t, dim, k)
            for i, (t, dim) in enumerate(zip(args[:-1], in_dims[:-1], strict=True))
        )
        by_x, by_weight, by_bias = apply(_GroupNormBackward, grad, by_m, by_r, x, weight, m, r, k * args[-1])
        return (unpack(by_x, k), by_weight.unflatten(0, (k, -1)), by_bias.unflatten(0, (k, -1))), (1, 0, 0)


def _stats(t: Tensor, dim: int | None, clients: int) -> Tensor:
    """Client-wise [B, G, 1] -> [B, K·G, 1]."""
    return front(t, dim, clients).movedim(0, 1).flatten(1, 2)
