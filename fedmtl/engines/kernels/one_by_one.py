"""Layers of large clients: each by the kernel that runs a client alone, so that the results are bit-identical.

A large convolution fills a core by itself; as a part of a grouped one it takes as long, or up to five times as long
where images are small and channels many. And the grouped one rounds in another order, which deep networks amplify: a
last bit turns a ReLU on or off. After three rounds of one step, ResNet-18 with BatchNorm in two loops that differ in
their kernels alone is 1e-3 apart (in double precision, 1e-10 at the start ends as 4e-10).

Operators without a rule here are batched by torch's own rules, which keep the bits of each client.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fedmtl.engines.kernels.packing import aten, split


def one_by_one(op: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of an operator that is called for one client after another."""

    def rule(info: Any, in_dims: Any, *args: Any, **kwargs: Any) -> Any:
        columns = [_each(arg, dim, info.batch_size) for arg, dim in zip(args, in_dims, strict=True)]
        results = [op(*own, **kwargs) for own in zip(*columns, strict=True)]
        if isinstance(results[0], Tensor):
            return _stack(results), 0
        parts = (None if own[0] is None else _stack(own) for own in zip(*results, strict=True))
        return split(*((part, None if part is None else 0) for part in parts))

    return rule


def products(batch1: Tensor, batch2: Tensor) -> Tensor:
    """Return ``torch.bmm`` by another operator, since a graph's ``bmm`` is replayed as ``batched_product``."""
    return aten.baddbmm(batch1.new_zeros(()), batch1, batch2, beta=0)


def _each(arg: Any, dim: Any, clients: int) -> Any:
    """Return an argument of each client: a view in the layout that it has alone, or what all clients share."""
    return arg.unbind(dim) if isinstance(arg, Tensor) and dim is not None else [arg] * clients


def _stack(parts: Any) -> Tensor:
    """Return [K, …] with each client's numbers laid out as they are in its part."""
    if parts[0].is_contiguous():
        return torch.stack(parts)
    strides = parts[0].stride()
    order = sorted(range(len(strides)), key=lambda dim: -strides[dim])
    back = [1 + order.index(dim) for dim in range(len(order))]
    return torch.stack([part.permute(order) for part in parts]).permute(0, *back)


LARGE_RULES: dict[str, Callable[..., Any]] = {
    **{
        name: one_by_one(getattr(aten, name))
        for name in (
            *("convolution", "convolution_backward", "mm", "addmm", "baddbmm"),
            *("native_group_norm", "native_group_norm_backward", "native_layer_norm", "native_layer_norm_backward"),
            *("nll_loss_forward", "nll_loss_backward"),
        )
    },
    "bmm": one_by_one(products),
}
"""aten operator -> its vmap rule, as in ``RULES`` of small clients."""
