"""Matrix products of a client's views, as calls of ``product`` in C++."""

from fedmtl.engines.trace.codegen import Unsupported
from fedmtl.engines.trace.cpp.client_view import ClientView
from fedmtl.engines.trace.cpp.scope import Known, Scope, at, type_of
from fedmtl.engines.trace.graph import Node

MAX_FACTOR = 2**18
"""Most numbers of a right factor, of which a copy is on the stack."""


def product(scope: Scope, name: str, node: Node, out: Known) -> None:
    arguments = list(node.args)
    start = scope.known[arguments.pop(0)] if name in ("baddbmm", "addmm") else None
    left, right = (scope.known[value] for value in arguments[:2])
    if set(node.kwargs.values()) - {1} or arguments[2:]:
        raise Unsupported(f"{name} with factors")
    if any(type_of(known.example) != "float" for known in (left, right)):
        raise Unsupported(f"{name} of {left.example.dtype}")
    rows, columns, *steps = out.view.last
    height, inner, *of_left = left.view.last
    depth, width, *of_right = right.view.last
    if (height, depth, width) != (rows, inner, columns):
        raise Unsupported(f"{name} that adds up clients")
    if inner * columns > MAX_FACTOR:
        raise Unsupported(f"{name} by a matrix of {inner} × {columns}")
    numbers = ", ".join(map(str, (rows, columns, inner, *of_left, *of_right, *steps)))
    stack = ClientView((*out.view.sizes[:-2], 1, 1), (*out.view.strides[:-2], 0, 0), 0)
    pointers = [f"&{scope.source(_first(known), stack)}" for known in (left, right, out)]
    scope.loop(stack, f"product<{numbers}>({', '.join(pointers)});")
    if start is not None:
        scope.loop(out.view, f"{at(out.base, out.view)} += {scope.source(start, out.view)};")


def _first(known: Known) -> Known:
    """Return the first number of each matrix."""
    sizes, strides, offset = known.view
    return known._replace(view=ClientView((*sizes[:-2], 1, 1), (*strides[:-2], 0, 0), offset))
