"""Convolution of a cohort as one grouped convolution, with each client's groups next to each other.

Input [B, K·C, H, W] channels-last, weight [K·O, C/groups, h, w], K·groups groups.
"""

from typing import Any

from torch import Tensor

from fedmtl.engines.kernels.packing import aten, pack, rows, split, unpack


def convolution(
    info: Any, in_dims: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any
) -> tuple[Tensor, int]:
    """Rule of ``aten::convolution``; settings: stride, padding, dilation, transposed, output_padding, groups."""
    clients = info.batch_size
    x, weight, where, signal = _images(pack(x, in_dims[0], clients), rows(weight, in_dims[1], clients), settings[:5])
    bias = None if bias is None else rows(bias, in_dims[2], clients)
    y = aten.convolution(x, weight, bias, *where, settings[5] * clients)
    return unpack(y, clients, signal), 1


def convolution_backward(
    info: Any, in_dims: Any, grad: Tensor, x: Tensor, weight: Tensor, bias_sizes: list[int] | None, *settings: Any
) -> Any:
    """Rule of ``aten::convolution_backward``: gradients by input, weight and bias, as requested by settings[6]."""
    clients, (need_x, need_weight, need_bias) = info.batch_size, settings[6]
    grad = pack(grad, in_dims[0], clients)
    x, weight, where, signal = _images(pack(x, in_dims[1], clients), rows(weight, in_dims[2], clients), settings[:5])
    by_x, by_weight, _ = aten.convolution_backward(
        grad, x, weight, None, *where, settings[5] * clients, [need_x, need_weight, False]
    )
    if signal and need_weight:
        by_weight = by_weight.squeeze(2)
    # The kernel's own sum over a grouped gradient takes several times as long.
    by_bias = grad.sum([0, *range(2, grad.ndim)]) if need_bias else None
    return split(
        (unpack(by_x, clients, signal), 1) if need_x else (None, None),
        (by_weight.unflatten(0, (clients, -1)), 0) if need_weight else (None, None),
        (by_bias.unflatten(0, (clients, -1)), 0) if by_bias is not None else (None, None),
    )


def _images(x: Tensor, weight: Tensor, where: tuple[Any, ...]) -> tuple[Tensor, Tensor, tuple[Any, ...], bool]:
    """Return weight and settings for the packed input, and True for a signal, which becomes an image of height 1."""
    if weight.ndim > 3:
        return x, weight, where, False
    stride, padding, dilation, transposed, output_padding = where
    where = ([1, *stride], [0, *padding], [1, *dilation], transposed, [0, *output_padding])
    return x, weight.unsqueeze(2), where, True
