"""Sums, means, extremes and softmax over dimensions of a client's view, as loops in C++."""

import math

from fedmtl.engines.trace.codegen import Unsupported
from fedmtl.engines.trace.cpp.client_view import ClientView
from fedmtl.engines.trace.cpp.scope import Known, Scope, at, check_whole, dense, literal, type_of
from fedmtl.engines.trace.graph import Node


def reduction(scope: Scope, name: str, node: Node, out: Known) -> None:
    source = scope.known[node.args[0]]
    dims = node.args[1] if len(node.args) > 1 else None
    rank = source.example.dim()
    over = {dim % rank for dim in dims} if dims else set(range(rank))
    for dim in over:
        check_whole(name, source, dim)
    kept = [dim for dim in range(rank) if dim not in over]
    # Where keepdim is set, the dimensions that are reduced are there with size 1.
    of = dict(enumerate(range(rank))) if out.example.dim() == rank else {dim: place for place, dim in enumerate(kept)}
    steps = tuple(0 if dim in over else out.view.strides[of[dim]] for dim in range(rank))
    for dim in kept:
        if out.view.sizes[of[dim]] != source.view.sizes[dim]:
            raise Unsupported(f"{name} of a tensor that repeats numbers")
    target = ClientView(source.view.sizes, steps, 0)
    x, y, kind = at(source.base, source.view), at(out.base, target), type_of(out.example)
    begin, step = "0", f"{y} + {x}"
    if name in ("amax", "amin"):
        if kind != "float":
            raise Unsupported(f"{name} of {out.example.dtype}")
        begin = literal(-math.inf if name == "amax" else math.inf, kind)
        step = f"{x} {'>' if name == 'amax' else '<'} {y} || {x} != {x} ? {x} : {y}"
    scope.loop(out.view, f"{at(out.base, out.view)} = {begin};")
    scope.loop(source.view, f"{y} = {step};")
    if name == "mean":
        count = math.prod(source.view.sizes[dim] for dim in over)
        scope.loop(out.view, f"{at(out.base, out.view)} /= {count};")


def softmax(scope: Scope, name: str, node: Node, out: Known) -> None:
    source, dim = scope.known[node.args[0]], node.args[1] % out.example.dim()
    if source.view.sizes != out.view.sizes:
        raise Unsupported(f"{name} of sizes {source.view.sizes} to {out.view.sizes}")
    check_whole(name, out, dim)
    most, total = f"{out.base}_most", f"{out.base}_total"
    own, sizes = _reduced(out.view, dim)
    kind = type_of(out.example)
    scope.lines += [f"alignas(64) {kind} {part}[{math.prod(sizes.sizes)}];" for part in (most, total)]
    x, y = at(source.base, source.view), at(out.base, out.view)
    top, added = at(most, own), at(total, own)
    infinity = f"-std::numeric_limits<{kind}>::infinity()"
    scope.loop(sizes, f"{at(most, sizes)} = {infinity}; {at(total, sizes)} = 0;")
    scope.loop(out.view, f"{top} = {x} > {top} ? {x} : {top};")  # not NaN, but then the sum of exponentials is
    if name == "_softmax":
        scope.loop(out.view, f"{y} = exponential({x} - {top}); {added} += {y};")
        scope.loop(out.view, f"{y} /= {added};")
    else:
        scope.loop(out.view, f"{added} += exponential({x} - {top});")
        scope.loop(sizes, f"{at(most, sizes)} += std::log({at(total, sizes)});")
        scope.loop(out.view, f"{y} = {x} - {top};")


def softmax_backward(scope: Scope, name: str, node: Node, out: Known) -> None:
    slope, result = (scope.known[value] for value in node.args[:2])
    dim = node.args[2] % out.example.dim()
    check_whole(name, out, dim)
    total = f"{out.base}_total"
    own, sizes = _reduced(out.view, dim)
    scope.lines.append(f"alignas(64) {type_of(out.example)} {total}[{math.prod(sizes.sizes)}];")
    g, y, added = scope.source(slope, out.view), scope.source(result, out.view), at(total, own)
    scope.loop(sizes, f"{at(total, sizes)} = 0;")
    if name == "_softmax_backward_data":
        scope.loop(out.view, f"{added} += {g} * {y};")
        scope.loop(out.view, f"{at(out.base, out.view)} = {y} * ({g} - {added});")
    else:
        scope.loop(out.view, f"{added} += {g};")
        scope.loop(out.view, f"{at(out.base, out.view)} = {g} - exponential({y}) * {added};")


def _reduced(own: ClientView, dim: int) -> tuple[ClientView, ClientView]:
    """Return views of one number for each row along ``dim``: for loops over all numbers, and for loops over rows."""
    sizes = tuple(1 if place == dim else size for place, size in enumerate(own.sizes))
    strides = tuple(0 if size == 1 else step for size, step in zip(sizes, dense(sizes), strict=True))
    return ClientView(own.sizes, strides, 0), ClientView(sizes, strides, 0)
