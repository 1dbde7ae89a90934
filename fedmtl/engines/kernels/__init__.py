"""How a layer runs for a cohort at once: vmap's rules for convolution, pooling, group norm, attention, LSTM and GRU.

Models and algorithms stay plain torch. A pure function of one client, gradients inside, is lifted by

    with lifted_layers():
        torch.vmap(function)(...)

and computes what vmap alone would, to rounding, but in a layout that is fast for many small clients: see
``packing``. What vmap does well already (elementwise operators, embedding, layer norm) is left to it.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.library import Library, register_vmap

from fedmtl.engines.kernels.attention import attention
from fedmtl.engines.kernels.convolution import convolution, convolution_backward
from fedmtl.engines.kernels.group_norm import group_norm
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
"""aten operator -> its rule of vmap: (info, in_dims, *args) -> (results, their dimensions), as torch.library takes it.

Gradients need nothing more: torch differentiates the operator, and its gradient's operator has a rule too.
"""

REPLACED: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool1d": adaptive_avg_pool1d,
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "group_norm": group_norm,
    "gru.input": gru,
    "lstm.input": lstm,
    "scaled_dot_product_attention": attention,
    # Composites that vmap cannot take apart by itself.
    "gru_cell": aten.gru_cell.default.decompose,
    "lstm_cell": aten.lstm_cell.default.decompose,
    "rnn_relu.input": aten.rnn_relu.input.decompose,
    "rnn_relu_cell": aten.rnn_relu_cell.default.decompose,
    "rnn_tanh.input": aten.rnn_tanh.input.decompose,
    "rnn_tanh_cell": aten.rnn_tanh_cell.default.decompose,
}
"""aten operator -> what runs instead while a transform of torch.func is active: those that torch would take apart,
before any rule of vmap is asked, into pieces that have no rule or a slow one."""


@contextmanager
def lifted_layers() -> Iterator[None]:
    """Inside, ``torch.vmap`` lays clients out as this package says. Entering costs about a millisecond.

    The rules are the process's, so they hold in all its threads, and leaving takes them back. Without a transform
    of torch.func they do nothing.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    library = Library("aten", "IMPL")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Warning only once for all operators")
            for name, rule in RULES.items():
                register_vmap(f"aten::{name}", rule, lib=library)
            library.impl("bmm", batched_product, "CPU")
        for name, replacement in REPLACED.items():
            # The first thing that torch asks for any operator under grad or vmap.
            library.impl(name, replacement, "FuncTorchDynamicLayerFrontMode")
        # A fused encoder layer, taken when no gradient is asked, has no rule.
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        library._destroy()
