"""Torch's functions of layers that train and measure differently, as they run within a ``LayerPass``."""

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fedmtl.models.layers import LayerPass


def _dropout(run: LayerPass, _: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
    return run.dropout(input, p) if run.drops(p, training) else input


def _channels(single: int | None) -> Callable[..., Tensor]:
    """Dropout of whole channels; an input of ``single`` dimensions is one example without a batch."""

    def dropout(
        run: LayerPass, _: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not run.drops(p, training):
            return input
        kept = 1 if input.ndim == single else 2
        return run.dropout(input, p, (*input.shape[:kept], *[1] * (input.ndim - kept)))

    return dropout


def _alpha(whole: bool) -> Callable[..., Tensor]:
    """Alpha dropout of numbers, or of whole channels."""

    def dropout(
        run: LayerPass, _: Any, input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
    ) -> Tensor:
        kept = 2 if whole else input.ndim
        shape = (*input.shape[:kept], *[1] * (input.ndim - kept))
        return run.alpha_dropout(input, p, shape) if run.drops(p, training) else input

    return dropout


def _rrelu(
    run: LayerPass,
    func: Any,
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    if not run.drops(upper - lower, training):
        return func(input, lower, upper, False, False)
    slope = lower + (upper - lower) * run.uniform(tuple(input.shape), input)
    return torch.where(input >= 0, input, input * slope)


def _normalised(given: tuple[Tensor, Tensor], weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    apart, var = given
    shape = (1, -1, *[1] * (apart.ndim - 2))
    scale = torch.rsqrt(var + eps) if weight is None else torch.rsqrt(var + eps) * weight.reshape(shape)
    out = apart * scale
    return out if bias is None else out + bias.reshape(shape)


def _batch_norm(
    run: LayerPass,
    func: Any,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if running_mean is None or running_var is None:
        return func(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return _normalised(run.batch_norm(input, running_mean, running_var, training, momentum), weight, bias, eps)


def _instance_norm(
    run: LayerPass,
    func: Any,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if running_mean is None or running_var is None:
        return func(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    found = run.instance_norm(input, running_mean, running_var, use_input_stats, momentum)
    return _normalised(found, weight, bias, eps)


def _attention(
    run: LayerPass,
    func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if not run.drops(dropout_p, True):
        return func(query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa)
    if enable_gqa:
        raise ValueError("Dropout of attention takes no enable_gqa=True; repeat the keys, or leave out dropout_p.")
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return run.dropout(torch.softmax(scores, -1), dropout_p) @ value


_MULTI_HEAD = functional.multi_head_attention_forward


def _multi_head(run: LayerPass, _: Any, *args: Any, training: bool = True, **kwargs: Any) -> Any:
    """Run torch's own function, in which the two functions that draw are those of the pass."""

    def dropout(input: Tensor, p: float) -> Tensor:
        return _dropout(run, None, input, p)

    def attention(*args: Any) -> Tensor:
        return _attention(run, functional.scaled_dot_product_attention, *args)

    names = {"dropout": dropout, "scaled_dot_product_attention": attention, "has_torch_function": lambda _: False}
    own = FunctionType(
        _MULTI_HEAD.__code__,
        {**_MULTI_HEAD.__globals__, **names},
        argdefs=_MULTI_HEAD.__defaults__,
        closure=_MULTI_HEAD.__closure__,
    )
    return own(*args, training=training and run.drops(1, True), **kwargs)


def _recurrent(run: LayerPass, func: Any, *args: Any) -> Any:
    """Run layer after layer, with dropout between them."""
    x, hx, weights, biases, layers, p, training, both, batch_first = args
    if not run.drops(p, training):
        return func(x, hx, weights, biases, layers, 0.0, False, both, batch_first)
    if isinstance(biases, (list, tuple)):
        raise ValueError("Dropout between recurrent layers takes no PackedSequence; pad it, or set dropout=0.")
    per, directions, last = len(weights) // layers, 1 + both, []
    states = list(hx) if isinstance(hx, (list, tuple)) else [hx]
    for layer in range(layers):
        first = [state[layer * directions : (layer + 1) * directions] for state in states]
        own = first if isinstance(hx, (list, tuple)) else first[0]
        x, *after = func(x, own, weights[layer * per : (layer + 1) * per], biases, 1, 0.0, False, both, batch_first)
        last.append(after)
        if layer + 1 < layers:  # the batch first, so that fewer examples draw the same numbers
            x = run.dropout(x, p) if batch_first else run.dropout(x.transpose(0, 1), p).transpose(0, 1)
    return x, *(torch.cat(parts) for parts in zip(*last, strict=True))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "dropout": _dropout,
    "dropout1d": _channels(2),
    "dropout2d": _channels(None),
    "dropout3d": _channels(4),
    "feature_dropout": _channels(None),
    "alpha_dropout": _alpha(whole=False),
    "feature_alpha_dropout": _alpha(whole=True),
    "rrelu": _rrelu,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head,
    "lstm": _recurrent,
    "gru": _recurrent,
    "rnn_tanh": _recurrent,
    "rnn_relu": _recurrent,
}
"""Name of torch's function of a layer -> what runs in its place."""
