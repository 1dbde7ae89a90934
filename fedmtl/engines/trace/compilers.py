"""Compilers of graphs, whose code is used only if it gives the results of the call, to rounding."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fedmtl.core.trees import tree_leaves
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.trace.codegen import GraphFunction, NativeFunction
from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.signature import before_batches


def compile_cpp(graph: Graph, inputs: Inputs, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> NativeFunction:
    """Compile a graph to C++.

    Args:
        graph: of a call.
        inputs: of the call.
        tensors: the same, flat.
        results: of the call.

    Raises:
        Unsupported: an operation or a layout without C++.
        ValueError: the code gives other results.
        ImportError: this installation has no code generator.
        OSError: no C++ compiler, or one that fails.
    """
    from fedmtl.engines.trace.cpp import compile_natively  # a folder that fedmtl does without

    of_down = len(tree_leaves(inputs.down))
    stacked = [place >= of_down or not inputs.shared for place in range(len(tensors))]
    function = compile_natively(graph, tensors, stacked, before_batches(inputs))
    _check(function, tensors, results)
    return function


def compile_torch(graph: Graph, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> GraphFunction:
    """Compile a graph by torch's compiler.

    Raises:
        ValueError: the code gives other results.
        Exception: any error of the compiler.
    """
    from fedmtl.engines.trace.inductor import compile_with_torch  # seconds of imports

    function = compile_with_torch(graph)
    _check(function, tensors, results)
    return function


def _check(function: GraphFunction, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> None:
    with torch.no_grad():
        found = function(tensors)
    for one, other in zip(found, results, strict=True):
        if not torch.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ValueError(f"its results differ by up to {(one - other).abs().max():.1e}")


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
