"""Layers of a cohort at once: vmap rules for convolution, pooling, group norm, attention, LSTM and GRU.

Models and algorithms stay plain torch. A pure function of one client, gradients inside, is batched by

    with batched_layers():
        torch.vmap(function)(...)

and computes the results of vmap alone, to rounding, but in a layout that is fast for many small clients: see
``packing``. Operators that vmap alone runs fast (elementwise ones, embedding, layer norm) have no rule here.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.library import Library

from fedmtl.engines.kernels.attention import attention
from fedmtl.engines.kernels.convolution import convolution, convolution_backward
from fedmtl.engines.kernels.group_norm import group_norm
from fedmtl.engines.kernels.kernel import kernel_of
from fedmtl.engines.kernels.one_by_one import LARGE_RULES
from fedmtl.engines.kernels.packing import aten, clone
from fedmtl.engines.kernels.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, channelwise
from fedmtl.engines.kernels.products import batched_product
from fedmtl.engines.kernels.recurrent import gru, lstm
from fedmtl.engines.kernels.softmax import log_softmax, log_softmax_backward

RULES: dict[str, Callable[..., Any]] = {
    "clone": clone,
    "convolution": convolution,
    "convolution_backward": convolution_backward,
    "_log_softmax": log_softmax,
    "_log_softmax_backward_data": log_softmax_backward,
    "max_pool2d_with_indices": channelwise(aten.max_pool2d_with_indices),
    "max_pool2d_with_indices_backward": channelwise(aten.max_pool2d_with_indices_backward),
    "avg_pool2d": channelwise(aten.avg_pool2d),
    "avg_pool2d_backward": channelwise(aten.avg_pool2d_backward),
    "_adaptive_avg_pool2d": channelwise(aten._adaptive_avg_pool2d),
    "_adaptive_avg_pool2d_backward": channelwise(aten._adaptive_avg_pool2d_backward),
}
"""aten operator -> its vmap rule: (info, in_dims, *args) -> (results, their dimensions).

Gradients need no further rule: torch differentiates the operator, and the operator of its gradient has a rule too.
"""

REPLACED: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool1d": adaptive_avg_pool1d,
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "group_norm": group_norm,
    "gru.input": gru,
    "lstm.input": lstm,
    "scaled_dot_product_attention": attention,
    # Composites that vmap alone cannot decompose.
    "gru_cell": aten.gru_cell.default.decompose,
    "lstm_cell": aten.lstm_cell.default.decompose,
    "rnn_relu.input": aten.rnn_relu.input.decompose,
    "rnn_relu_cell": aten.rnn_relu_cell.default.decompose,
    "rnn_tanh.input": aten.rnn_tanh.input.decompose,
    "rnn_tanh_cell": aten.rnn_tanh_cell.default.decompose,
}
"""aten operator -> its replacement while a transform of torch.func is active. Torch would decompose these operators
into pieces without a rule or with a slow one, before it looks up any vmap rule."""

_STACKED_BY_TORCH = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "group_norm")

LARGE_REPLACED = {name: replacement for name, replacement in REPLACED.items() if name not in _STACKED_BY_TORCH}
"""The same for large clients."""


@cache
def _load_rules_of_torch() -> None:
    """Let torch register those of its rules that it registers at the first vmap.

    Were that one inside of ``batched_layers``, they would take the place of this package's, and a stack's first call
    would differ from its others by rounding.
    """
    torch.vmap(torch.neg)(torch.zeros(1))


def _restore_rules_of_torch() -> None:
    """Name torch's own Python rules of these operators again.

    torch has one Python function for an operator and a dispatch key, the latest that was named, also when the library
    that named it is gone; its own rules in Python would call that one.
    """
    from torch._decomp import decomposition_table

    again = Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning only once for all operators")
        for op in (aten.nll_loss_forward.default, aten.nll_loss_backward.default):
            again.impl(op, decomposition_table[op], "FuncTorchBatched")
    again._destroy()


@cache
def _kernels(large: bool) -> dict[str, Callable[..., Any]]:
    """aten operator -> the kernel of its rule."""
    return {name: kernel_of(getattr(aten, name), rule) for name, rule in (LARGE_RULES if large else RULES).items()}


@contextmanager
def batched_layers(large: bool = False) -> Iterator[None]:
    """Register the rules of this package with ``torch.vmap``, which takes less than a millisecond.

    The rules hold in all threads of the process until exit. Without a transform of torch.func they have no effect.

    Args:
        large: take the rules of large clients, see ``one_by_one``.
    """
    _load_rules_of_torch()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    library = Library("aten", "IMPL")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Warning only once for all operators")
            for name, kernel in _kernels(large).items():
                library.impl(name, kernel, "FuncTorchBatched", with_keyset=True)
            if not large:
                library.impl("bmm", batched_product, "CPU")
        for name, replacement in (LARGE_REPLACED if large else REPLACED).items():
            # The dispatch key that torch looks up first for any operator under grad or vmap.
            library.impl(name, replacement, "FuncTorchDynamicLayerFrontMode")
        # The fused encoder layer, which runs without gradients, has no rule.
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        library._destroy()
        if large:
            _restore_rules_of_torch()
