"""Attention without a mask or dropout: examples are independent, so a cohort's is one call with K·B examples."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fedmtl.engines.kernels.packing import apply, aten, rows


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Replace ``aten::scaled_dot_product_attention`` of [B, heads, positions, size]; others run as plain products."""
    square = query.ndim == key.ndim == value.ndim == 4 and query.shape[-1] == key.shape[-1] == value.shape[-1]
    if query.device.type == "cpu" and square and attn_mask is None and not dropout_p and not enable_gqa:
        return apply(_Attention, query, key, value, is_causal, scale)[0]
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    return _plain(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)


def _plain(*args: Any, **kwargs: Any) -> Tensor:
    """Return softmax(Q Kᵀ·scale + mask) V by products and a softmax."""
    return aten._scaled_dot_product_attention_math(*args, **kwargs)[0]


class _Attention(Function):
    """(query, key, value) -> the output, and the logarithm of each softmax's sum."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float | None) -> Any:
        return aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, causal, scale=scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.causal, ctx.scale = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        return *apply(_AttentionBackward, grad_outputs[0], *ctx.saved_tensors, ctx.causal, ctx.scale), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        k = info.batch_size
        tensors = (rows(t, dim, k) for t, dim in zip(args[:3], in_dims[:3], strict=True))
        return tuple(t.unflatten(0, (k, -1)) for t in apply(_Attention, *tensors, *args[3:])), (0, 0)


class _AttentionBackward(Function):
    """Gradient as a function of (grad, query, key, value); output and logarithm are passed to save work."""

    @staticmethod
    def forward(*args: Any) -> Any:
        *tensors, causal, scale = args
        return aten._scaled_dot_product_flash_attention_for_cpu_backward(*tensors, 0.0, causal, scale=scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        grad, query, key, value, _, _, ctx.causal, ctx.scale = inputs
        ctx.save_for_backward(grad, query, key, value)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        plain = partial(_plain, is_causal=ctx.causal, scale=ctx.scale)

        def first(grad: Tensor, *tensors: Tensor) -> Any:
            return torch.func.vjp(plain, *tensors)[1](grad)

        return *torch.func.vjp(first, *ctx.saved_tensors)[1](grad_outputs), None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        k = info.batch_size
        tensors = (rows(t, dim, k) for t, dim in zip(args[:6], in_dims[:6], strict=True))
        return tuple(t.unflatten(0, (k, -1)) for t in apply(_AttentionBackward, *tensors, *args[6:])), (0, 0, 0)
