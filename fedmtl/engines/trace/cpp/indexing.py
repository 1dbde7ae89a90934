"""Operations that read or write parts of a client's view, as loops in C++."""

from fedmtl.engines.trace.cpp.client_view import ClientView
from fedmtl.engines.trace.cpp.scope import Known, Scope, at, check_whole, index, literal, type_of, widened
from fedmtl.engines.trace.graph import Node


def gather(scope: Scope, name: str, node: Node, out: Known) -> None:
    source, dim, chosen = scope.known[node.args[0]], node.args[1], scope.known[node.args[2]]
    where = _place(scope, source, dim, chosen, out.view)
    scope.loop(out.view, f"{at(out.base, out.view)} = {source.base}[{where}];")


def scatter_add(scope: Scope, name: str, node: Node, out: Known) -> None:
    _, dim, *values = node.args
    chosen, added = (scope.known[value] for value in values)
    start = scope.known[node.args[0]]
    scope.loop(out.view, f"{at(out.base, out.view)} = {scope.source(start, out.view)};")
    where = _place(scope, out, dim, chosen, chosen.view)
    # The source may be larger than the index.
    some = ClientView(chosen.view.sizes, added.view.strides, added.view.offset)
    scope.loop(chosen.view, f"{out.base}[{where}] += {at(added.base, some)};")


def scatter(scope: Scope, name: str, node: Node, out: Known) -> None:
    start, dim, chosen, value = node.args
    start, chosen = scope.known[start], scope.known[chosen]
    scope.loop(out.view, f"{at(out.base, out.view)} = {scope.source(start, out.view)};")
    where = _place(scope, out, dim, chosen, chosen.view)
    scope.loop(chosen.view, f"{out.base}[{where}] = {literal(value, type_of(out.example))};")


def _place(scope: Scope, of: Known, dim: int, chosen: Known, loop: ClientView) -> str:
    """Return the element that an index points to, clamped to the dimension, since native code raises no errors."""
    dim %= of.example.dim()
    check_whole("an index", of, dim)
    strides = of.view.strides
    rest = ClientView(loop.sizes, (*strides[:dim], 0, *strides[dim + 1 :]), of.view.offset)
    inside = f"std::min<int64_t>(std::max<int64_t>({scope.source(chosen, loop)}, 0), {of.view.sizes[dim] - 1})"
    return f"{index(rest)} + {inside} * {strides[dim]}"


def join(scope: Scope, name: str, node: Node, out: Known) -> None:
    parts, *rest = node.args
    dim = (rest[0] if rest else 0) % out.example.dim()
    check_whole(name, out, dim)
    begin = 0
    for part in (scope.known[value] for value in parts):
        if name == "stack":
            part = widened(part, dim)
        else:
            check_whole(name, part, dim)
        size = part.view.sizes[dim]
        sizes = (*out.view.sizes[:dim], size, *out.view.sizes[dim + 1 :])
        target = ClientView(sizes, out.view.strides, out.view.offset + begin * out.view.strides[dim])
        scope.loop(target, f"{at(out.base, target)} = {scope.source(part, target)};")
        begin += size


def unselect(scope: Scope, name: str, node: Node, out: Known) -> None:
    source, _, dim, place = node.args
    dim %= out.example.dim()
    _fill(scope, name, out, dim, place % out.example.shape[dim], 1, widened(scope.known[source], dim))


def unslice(scope: Scope, name: str, node: Node, out: Known) -> None:
    source, _, dim, start, _, step = node.args
    length, dim = out.example.shape[dim], dim % out.example.dim()
    _fill(scope, name, out, dim, min(start + length if start < 0 else start, length), step, scope.known[source])


def _fill(scope: Scope, name: str, out: Known, dim: int, start: int, step: int, source: Known) -> None:
    """Fill with zeros, except for rows of one dimension."""
    check_whole(name, out, dim)
    scope.loop(out.view, f"{at(out.base, out.view)} = 0;")
    stride = out.view.strides[dim]
    sizes = (*out.view.sizes[:dim], source.view.sizes[dim], *out.view.sizes[dim + 1 :])
    strides = (*out.view.strides[:dim], step * stride, *out.view.strides[dim + 1 :])
    target = ClientView(sizes, strides, out.view.offset + start * stride)
    scope.loop(target, f"{at(out.base, target)} = {scope.source(source, target)};")
