"""Pooling: channels are independent, so a cohort's is one call with K·C channels."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fedmtl.engines.kernels.packing import aten, front, pack, unpack


def channelwise(op: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of an operator on images [B, C, H, W] (or one image [C, H, W]) with independent channels."""

    def rule(info: Any, in_dims: Any, *args: Any) -> Any:
        clients = info.batch_size
        single = args[0].ndim - (in_dims[0] is not None) == 3
        stack = front if single else pack
        stacked = [
            stack(arg, dim, clients) if isinstance(arg, Tensor) else arg for arg, dim in zip(args, in_dims, strict=True)
        ]
        results = op(*stacked)
        several = isinstance(results, tuple)
        at = 0 if single else 1
        out = tuple(y if single else unpack(y, clients) for y in (results if several else (results,)))
        return (out, (at,) * len(out)) if several else (out[0], at)

    return rule


def adaptive_avg_pool2d(x: Tensor, output_size: list[int]) -> Tensor:
    """Replace ``aten::adaptive_avg_pool2d``, which sets strides by hand for an output of one pixel."""
    if list(output_size) == [1, 1]:
        return x.mean((-2, -1), keepdim=True)
    return aten._adaptive_avg_pool2d(x, output_size)


def adaptive_avg_pool1d(x: Tensor, output_size: list[int]) -> Tensor:
    """Replace ``aten::adaptive_avg_pool1d``."""
    return adaptive_avg_pool2d(x.unsqueeze(-2), [1, *output_size]).squeeze(-2)
