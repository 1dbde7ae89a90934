"""C++ of torch's operations on one client's view of stacked tensors."""

from collections.abc import Callable

from fedmtl.engines.trace.codegen import Unsupported
from fedmtl.engines.trace.cpp.elementwise import EACH, elementwise
from fedmtl.engines.trace.cpp.indexing import gather, join, scatter, scatter_add, unselect, unslice
from fedmtl.engines.trace.cpp.products import product
from fedmtl.engines.trace.cpp.reductions import reduction, softmax, softmax_backward
from fedmtl.engines.trace.cpp.scope import Known, Scope
from fedmtl.engines.trace.graph import Node

_RULES: dict[str, Callable[[Scope, str, Node, Known], None]] = {
    "sum": reduction,
    "mean": reduction,
    "amax": reduction,
    "amin": reduction,
    "mm": product,
    "bmm": product,
    "baddbmm": product,
    "addmm": product,
    "_log_softmax": softmax,
    "_softmax": softmax,
    "_log_softmax_backward_data": softmax_backward,
    "_softmax_backward_data": softmax_backward,
    "gather": gather,
    "scatter_add": scatter_add,
    "scatter": scatter,
    "stack": join,
    "cat": join,
    "select_backward": unselect,
    "slice_backward": unslice,
}


def write(scope: Scope, name: str, node: Node, out: Known) -> None:
    """Write the statements that compute the result of an operation.

    Raises:
        Unlike: an unknown operation, or arguments of another form.
    """
    rule = elementwise if name in EACH else _RULES.get(name)
    if rule is None:
        raise Unsupported(f"there is no C++ for {name}")
    rule(scope, name, node, out)
