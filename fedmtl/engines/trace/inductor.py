"""Graphs through torch's compiler: fewer passes over memory, other roundings, and seconds to compile."""

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from fedmtl.engines.trace.codegen import GraphFunction
from fedmtl.engines.trace.graph import Graph, Node, Value, map_values


def compile_with_torch(graph: Graph) -> GraphFunction:
    """Return a function that is compiled at its first call: 5 to 15 s, or 1 s from inductor's cache.

    Raises:
        Exception: at the first call, any failure of the compiler, such as a missing C++ compiler.
    """
    # A worker is one of many on its machine: no pool of compilers beside each.
    call = torch.compile(to_fx(graph), fullgraph=True, dynamic=False, options={"compile_threads": 1})

    def replay(inputs: Sequence[Tensor]) -> list[Tensor]:
        return list(call(*inputs))

    return replay


def to_fx(graph: Graph) -> fx.GraphModule:
    """Convert a graph to torch's own kind of graph."""
    fx_graph, root, nodes = fx.Graph(), nn.Module(), dict[Value, fx.Node]()
    for value in graph.inputs:
        nodes[value] = fx_graph.placeholder(f"i{value.number}")
    for value, tensor in graph.constants.items():
        root.register_buffer(f"c{value.number}", tensor)
        nodes[value] = fx_graph.get_attr(f"c{value.number}")
    for node in graph.nodes:
        result = _fx_node(fx_graph, node, nodes)
        for place, value in enumerate(node.outs):
            if value is not None:
                nodes[value] = result if node.single else fx_graph.call_function(operator.getitem, (result, place))
    fx_graph.output([nodes[value] for value in graph.outputs])
    return fx.GraphModule(root, fx_graph)


def _fx_node(fx_graph: fx.Graph, node: Node, nodes: dict[Value, fx.Node]) -> fx.Node:
    if node.view is not None:
        base, *place = node.view
        return fx_graph.call_function(torch.ops.aten.as_strided.default, (nodes[base], *place))
    named = {key: map_values(item, nodes.__getitem__) for key, item in node.kwargs.items()}
    return fx_graph.call_function(
        node.function, tuple([map_values(item, nodes.__getitem__) for item in node.args]), named
    )
