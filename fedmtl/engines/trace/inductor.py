"""A recorded call through torch's compiler: fewer passes over memory, other roundings, and seconds to make."""

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from fedmtl.engines.trace.codegen import Program
from fedmtl.engines.trace.graph import Operation, Recording, Slot, swapped


def compile_with_torch(recording: Recording) -> Program:
    """The call as code that is built when it is first played: 5 to 15 s, or 1 s from inductor's cache.

    Raises:
        Exception: when first played, whatever the compiler cannot do here, such as finding a C++ compiler.
    """
    # A worker is one of many on its machine: no pool of compilers beside each.
    call = torch.compile(to_graph(recording), fullgraph=True, dynamic=False, options={"compile_threads": 1})

    def program(inputs: Sequence[Tensor]) -> list[Tensor]:
        return list(call(*inputs))

    return program


def to_graph(recording: Recording) -> fx.GraphModule:
    """The recording as torch's own kind of graph."""
    graph, root, nodes = fx.Graph(), nn.Module(), dict[Slot, fx.Node]()
    for slot in recording.inputs:
        nodes[slot] = graph.placeholder(f"i{slot.number}")
    for slot, tensor in recording.constants.items():
        root.register_buffer(f"c{slot.number}", tensor)
        nodes[slot] = graph.get_attr(f"c{slot.number}")
    for operation in recording.operations:
        node = _node(graph, operation, nodes)
        for place, slot in enumerate(operation.outs):
            if slot is not None:
                nodes[slot] = node if operation.single else graph.call_function(operator.getitem, (node, place))
    graph.output([nodes[slot] for slot in recording.outputs])
    return fx.GraphModule(root, graph)


def _node(graph: fx.Graph, operation: Operation, nodes: dict[Slot, fx.Node]) -> fx.Node:
    if operation.view is not None:
        base, *place = operation.view
        return graph.call_function(torch.ops.aten.as_strided.default, (nodes[base], *place))
    named = {key: swapped(item, nodes.__getitem__) for key, item in operation.kwargs.items()}
    return graph.call_function(
        operation.function, tuple([swapped(item, nodes.__getitem__) for item in operation.args]), named
    )
