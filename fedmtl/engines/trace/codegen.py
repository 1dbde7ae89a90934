"""Python source of a graph: one line an operation, a name deleted after its last use."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fedmtl.engines.base import LazyRows
from fedmtl.engines.kernels.products import batched_product
from fedmtl.engines.trace.graph import Graph, Node, Value

_DIRECT = frozenset(
    "mm baddbmm relu neg exp log sqrt rsqrt abs sigmoid tanh mul add sub div where eq ne gt ge lt le bitwise_and "
    "bitwise_or bitwise_not logical_and logical_not isnan clamp sum amax amin addcmul addcdiv gather scatter_add stack "
    "cat unsqueeze transpose permute _log_softmax _log_softmax_backward_data _softmax _softmax_backward_data square "
    "convolution minimum maximum".split()
)
"""Operations that ``torch.<name>`` starts in half the time of the overload, with the same arguments and bits."""

GraphFunction = Callable[[Sequence[Tensor]], list[Tensor]]
"""The inputs of a graph -> its outputs."""


class NativeFunction(Protocol):
    """A graph function that can read lazy rows and write results in place."""

    def __call__(self, inputs: Sequence[Tensor | LazyRows], buffers: Sequence[Tensor | None] = (), /) -> list[Tensor]:
        """Return as many rows of results as of inputs; buffers are [k, …], or None for a new tensor."""
        ...


class Unsupported(ValueError):
    """A graph that a code generator has no code for."""


def compile_graph(graph: Graph) -> GraphFunction:
    """Compile a graph to a Python function. Its inputs must have the traced shapes, strides and dtypes."""
    names: dict[str, Any] = {"torch": torch, "inf": math.inf, "nan": math.nan}
    names |= {_name(value): tensor for value, tensor in graph.constants.items()}
    last: dict[Value, int] = {}
    for number, node in enumerate(graph.nodes):
        last |= dict.fromkeys(node.reads(), number)
        last |= dict.fromkeys([value for value in node.outs if value is not None and value not in last], number)
    kept = set(graph.outputs) | set(graph.constants)
    lines = ["def replay(inputs):"]
    if graph.inputs:
        lines.append(f" {', '.join(map(_name, graph.inputs))}, = inputs")
    for number, node in enumerate(graph.nodes):
        lines.append(f" {_targets(node)} = {_call(node, names)}")
        over = [value for value in {*node.reads(), *node.outs} if value is not None and value not in kept]
        over = sorted(_name(value) for value in over if last[value] == number)
        if over:
            lines.append(f" {' = '.join(over)} = None")
    lines.append(f" return [{', '.join(map(_name, graph.outputs))}]")
    exec(compile("\n".join(lines), "<traced call>", "exec"), names)
    return names["replay"]


def _name(value: Value) -> str:
    return f"t{value.number}"


def _targets(node: Node) -> str:
    targets = ["_" if value is None else _name(value) for value in node.outs]
    return targets[0] if node.single or not targets else f"{', '.join(targets)},"


def _call(node: Node, names: dict[str, Any]) -> str:
    if node.view is not None:
        base, size, stride, offset = node.view
        return f"{_name(base)}.as_strided({size}, {stride}, {offset})"
    packet = node.function.overloadpacket.__name__
    if node.function is torch.ops.aten.bmm.default:  # the kernel that ran while it was traced
        return f"{_constant(batched_product, names, packet)}({', '.join(_source(item, names) for item in node.args)})"
    if node.function.namespace == "aten" and packet in _DIRECT and hasattr(torch, packet):
        function = f"torch.{packet}"
    else:
        function = _constant(node.function, names, packet)
    arguments = [_source(item, names) for item in node.args]
    arguments += [f"{key}={_source(item, names)}" for key, item in node.kwargs.items()]
    return f"{function}({', '.join(arguments)})"


def _source(item: Any, names: dict[str, Any]) -> str:
    if isinstance(item, Value):
        return _name(item)
    if isinstance(item, list):
        return f"[{', '.join(_source(part, names) for part in item)}]"
    if item is None or isinstance(item, (bool, int, float)):
        return repr(item)
    return _constant(item, names, "c")


def _constant(value: Any, names: dict[str, Any], stem: str) -> str:
    """Return a new name for an object that has no literal."""
    name = f"{stem}_{id(value)}"
    names[name] = value
    return name
