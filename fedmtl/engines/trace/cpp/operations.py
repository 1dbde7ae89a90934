"""Operations of torch on a client's share, as loops in C++."""

import math
from collections.abc import Callable

import torch

from fedmtl.engines.trace.cpp.scope import TYPES, Known, Scope, at, dense, index, literal, type_of
from fedmtl.engines.trace.cpp.shares import Share, Unlike
from fedmtl.engines.trace.graph import Operation, Slot

_EACH = {
    "add": "{0} + {alpha}{1}",
    "sub": "{0} - {alpha}{1}",
    "rsub": "{1} - {alpha}{0}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "square": "{0} * {0}",
    "pow": "std::pow({0}, {1})",
    "log1p": "std::log1p({0})",
    "expm1": "std::expm1({0})",
    "reciprocal": "1 / {0}",
    "relu": "{0} < 0 ? 0 : {0}",
    "exp": "exponential({0})",
    "log": "std::log({0})",
    "sqrt": "std::sqrt({0})",
    "rsqrt": "1 / std::sqrt({0})",
    "abs": "std::abs({0})",
    "sigmoid": "1 / (1 + exponential(-({0})))",
    "tanh": "std::tanh({0})",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "isnan": "{0} != {0}",
    "bitwise_and": "{0} & {1}",
    "bitwise_or": "{0} | {1}",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "bitwise_not": "!{0}",
    "logical_not": "!{0}",
    "where": "{0} ? {1} : {2}",
    "lerp": "{0} + {2} * ({1} - {0})",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "addcmul": "{0} + {value} * {1} * {2}",
    "addcdiv": "{0} + {value} * {1} / {2}",
    "threshold_backward": "{1} > {2} ? {0} : 0",
    "sigmoid_backward": "{0} * {1} * (1 - {1})",
    "tanh_backward": "{0} * (1 - {1} * {1})",
    "clone": "{0}",
    "_to_copy": "{0}",
    "contiguous": "{0}",
    "clamp": "{0} < {min} ? {min} : {0} > {max} ? {max} : {0}",
}
"""Operations on single numbers: what becomes of the arguments."""

MAX_FACTOR = 2**18
"""Numbers of a right factor: a copy of it is on the stack."""

_COMPARES = frozenset("eq ne gt ge lt le isnan logical_and logical_or logical_not where bitwise_not".split())
"""Whose arguments keep their own type."""


def write(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    """What fills a result.

    Raises:
        Unlike: an operation that is not known here, or not of this form.
    """
    rule = _elementwise if name in _EACH else _RULES.get(name)
    if rule is None:
        raise Unlike(f"there is no C++ for {name}")
    rule(scope, name, operation, out)


def _elementwise(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    schema = [argument.name for argument in operation.function._schema.arguments]
    given = dict(zip(schema, operation.args, strict=False)) | operation.kwargs
    kind = type_of(out.value)
    factors = {key: given.pop(key, 1) for key in ("alpha", "value")}
    least, most = given.pop("min", None), given.pop("max", None)
    for key in ("dtype", "layout", "device", "pin_memory", "non_blocking", "memory_format"):
        given.pop(key, None)
    terms = []
    for item in given.values():
        if isinstance(item, Slot):
            term = scope.source(scope.known[item], out.share)
            terms.append(term if name in _COMPARES or kind == "bool" else f"({kind}){term}")
        else:
            terms.append(literal(item, _operand_type(scope, operation) if name in _COMPARES else kind))
    made = _EACH[name].format(
        *terms,
        alpha="" if factors["alpha"] == 1 else f"{literal(factors['alpha'], kind)} * ",
        value=literal(factors["value"], kind),
        min=literal(-math.inf if least is None else least, kind),
        max=literal(math.inf if most is None else most, kind),
    )
    scope.loop(out.share, f"{at(out.base, out.share)} = {made};")


def _operand_type(scope: Scope, operation: Operation) -> str:
    """What a number that is compared with tensors becomes."""
    kinds = [scope.known[item].value.dtype for item in operation.args if isinstance(item, Slot)]
    floats = [kind for kind in kinds if kind.is_floating_point]
    return TYPES[(floats or [kind for kind in kinds if kind != torch.bool] or [torch.bool])[0]]


def _reduction(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    source = scope.known[operation.args[0]]
    dims = operation.args[1] if len(operation.args) > 1 else None
    rank = source.value.dim()
    over = {dim % rank for dim in dims} if dims else set(range(rank))
    for dim in over:
        _check_whole(name, source, dim)
    kept = [dim for dim in range(rank) if dim not in over]
    # Where keepdim is set, the dimensions that are reduced are there with size 1.
    of = dict(enumerate(range(rank))) if out.value.dim() == rank else {dim: place for place, dim in enumerate(kept)}
    steps = tuple(0 if dim in over else out.share.strides[of[dim]] for dim in range(rank))
    for dim in kept:
        if out.share.sizes[of[dim]] != source.share.sizes[dim]:
            raise Unlike(f"{name} of a tensor that repeats numbers")
    target = Share(source.share.sizes, steps, 0)
    x, y, kind = at(source.base, source.share), at(out.base, target), type_of(out.value)
    begin, step = "0", f"{y} + {x}"
    if name in ("amax", "amin"):
        if kind != "float":
            raise Unlike(f"{name} of {out.value.dtype}")
        begin = literal(-math.inf if name == "amax" else math.inf, kind)
        step = f"{x} {'>' if name == 'amax' else '<'} {y} || {x} != {x} ? {x} : {y}"
    scope.loop(out.share, f"{at(out.base, out.share)} = {begin};")
    scope.loop(source.share, f"{y} = {step};")
    if name == "mean":
        count = math.prod(source.share.sizes[dim] for dim in over)
        scope.loop(out.share, f"{at(out.base, out.share)} /= {count};")


def _product(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    arguments = list(operation.args)
    start = scope.known[arguments.pop(0)] if name in ("baddbmm", "addmm") else None
    left, right = (scope.known[slot] for slot in arguments[:2])
    if set(operation.kwargs.values()) - {1} or arguments[2:]:
        raise Unlike(f"{name} with factors")
    if any(type_of(known.value) != "float" for known in (left, right)):
        raise Unlike(f"{name} of {left.value.dtype}")
    rows, columns, *steps = out.share.last
    height, inner, *of_left = left.share.last
    depth, width, *of_right = right.share.last
    if (height, depth, width) != (rows, inner, columns):
        raise Unlike(f"{name} that adds up clients")
    if inner * columns > MAX_FACTOR:
        raise Unlike(f"{name} by a matrix of {inner} × {columns}")
    numbers = ", ".join(map(str, (rows, columns, inner, *of_left, *of_right, *steps)))
    stack = Share((*out.share.sizes[:-2], 1, 1), (*out.share.strides[:-2], 0, 0), 0)
    places = [f"&{scope.source(_first(known), stack)}" for known in (left, right, out)]
    scope.loop(stack, f"product<{numbers}>({', '.join(places)});")
    if start is not None:
        scope.loop(out.share, f"{at(out.base, out.share)} += {scope.source(start, out.share)};")


def _softmax(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    source, dim = scope.known[operation.args[0]], operation.args[1] % out.value.dim()
    if source.share.sizes != out.share.sizes:
        raise Unlike(f"{name} of sizes {source.share.sizes} to {out.share.sizes}")
    _check_whole(name, out, dim)
    most, total = f"{out.base}_most", f"{out.base}_total"
    own, sizes = _reduced(out.share, dim)
    kind = type_of(out.value)
    scope.lines += [f"alignas(64) {kind} {part}[{math.prod(sizes.sizes)}];" for part in (most, total)]
    x, y = at(source.base, source.share), at(out.base, out.share)
    top, added = at(most, own), at(total, own)
    infinity = f"-std::numeric_limits<{kind}>::infinity()"
    scope.loop(sizes, f"{at(most, sizes)} = {infinity}; {at(total, sizes)} = 0;")
    scope.loop(out.share, f"{top} = {x} > {top} ? {x} : {top};")  # not NaN, but then the sum of exponentials is
    if name == "_softmax":
        scope.loop(out.share, f"{y} = exponential({x} - {top}); {added} += {y};")
        scope.loop(out.share, f"{y} /= {added};")
    else:
        scope.loop(out.share, f"{added} += exponential({x} - {top});")
        scope.loop(sizes, f"{at(most, sizes)} += std::log({at(total, sizes)});")
        scope.loop(out.share, f"{y} = {x} - {top};")


def _softmax_backward(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    slope, result = (scope.known[slot] for slot in operation.args[:2])
    dim = operation.args[2] % out.value.dim()
    _check_whole(name, out, dim)
    total = f"{out.base}_total"
    own, sizes = _reduced(out.share, dim)
    scope.lines.append(f"alignas(64) {type_of(out.value)} {total}[{math.prod(sizes.sizes)}];")
    g, y, added = scope.source(slope, out.share), scope.source(result, out.share), at(total, own)
    scope.loop(sizes, f"{at(total, sizes)} = 0;")
    if name == "_softmax_backward_data":
        scope.loop(out.share, f"{added} += {g} * {y};")
        scope.loop(out.share, f"{at(out.base, out.share)} = {y} * ({g} - {added});")
    else:
        scope.loop(out.share, f"{added} += {g};")
        scope.loop(out.share, f"{at(out.base, out.share)} = {g} - exponential({y}) * {added};")


def _gather(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    source, dim, chosen = scope.known[operation.args[0]], operation.args[1], scope.known[operation.args[2]]
    where = _place(scope, source, dim, chosen, out.share)
    scope.loop(out.share, f"{at(out.base, out.share)} = {source.base}[{where}];")


def _scatter_add(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    _, dim, *slots = operation.args
    chosen, added = (scope.known[slot] for slot in slots)
    start = scope.known[operation.args[0]]
    scope.loop(out.share, f"{at(out.base, out.share)} = {scope.source(start, out.share)};")
    where = _place(scope, out, dim, chosen, chosen.share)
    # More may be given to add than the index asks for.
    some = Share(chosen.share.sizes, added.share.strides, added.share.offset)
    scope.loop(chosen.share, f"{out.base}[{where}] += {at(added.base, some)};")


def _scatter(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    start, dim, chosen, value = operation.args
    start, chosen = scope.known[start], scope.known[chosen]
    scope.loop(out.share, f"{at(out.base, out.share)} = {scope.source(start, out.share)};")
    where = _place(scope, out, dim, chosen, chosen.share)
    scope.loop(chosen.share, f"{out.base}[{where}] = {literal(value, type_of(out.value))};")


def _place(scope: Scope, of: Known, dim: int, chosen: Known, loop: Share) -> str:
    """Where an index points, kept inside: what is given has been checked, and native code has no errors."""
    dim %= of.value.dim()
    _check_whole("an index", of, dim)
    strides = of.share.strides
    rest = Share(loop.sizes, (*strides[:dim], 0, *strides[dim + 1 :]), of.share.offset)
    inside = f"std::min<int64_t>(std::max<int64_t>({scope.source(chosen, loop)}, 0), {of.share.sizes[dim] - 1})"
    return f"{index(rest)} + {inside} * {strides[dim]}"


def _join(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    parts, *rest = operation.args
    dim = (rest[0] if rest else 0) % out.value.dim()
    _check_whole(name, out, dim)
    begin = 0
    for part in (scope.known[slot] for slot in parts):
        if name == "stack":
            part = _widened(part, dim)
        else:
            _check_whole(name, part, dim)
        size = part.share.sizes[dim]
        sizes = (*out.share.sizes[:dim], size, *out.share.sizes[dim + 1 :])
        target = Share(sizes, out.share.strides, out.share.offset + begin * out.share.strides[dim])
        scope.loop(target, f"{at(out.base, target)} = {scope.source(part, target)};")
        begin += size


def _unselect(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    source, _, dim, place = operation.args
    dim %= out.value.dim()
    _fill(scope, name, out, dim, place % out.value.shape[dim], 1, _widened(scope.known[source], dim))


def _unslice(scope: Scope, name: str, operation: Operation, out: Known) -> None:
    source, _, dim, start, _, step = operation.args
    length, dim = out.value.shape[dim], dim % out.value.dim()
    _fill(scope, name, out, dim, min(start + length if start < 0 else start, length), step, scope.known[source])


def _fill(scope: Scope, name: str, out: Known, dim: int, start: int, step: int, source: Known) -> None:
    """Zeros, but for rows of one dimension."""
    _check_whole(name, out, dim)
    scope.loop(out.share, f"{at(out.base, out.share)} = 0;")
    stride = out.share.strides[dim]
    sizes = (*out.share.sizes[:dim], source.share.sizes[dim], *out.share.sizes[dim + 1 :])
    strides = (*out.share.strides[:dim], step * stride, *out.share.strides[dim + 1 :])
    target = Share(sizes, strides, out.share.offset + start * stride)
    scope.loop(target, f"{at(out.base, target)} = {scope.source(source, target)};")


def _check_whole(what: str, known: Known, dim: int) -> None:
    """A dimension must not be, or hold, that of the clients, nor repeat one number."""
    if known.share.sizes[dim] != known.value.shape[dim]:
        raise Unlike(f"{what} over clients")


def _widened(known: Known, dim: int) -> Known:
    """With a new dimension of size 1."""
    sizes, strides, offset = known.share
    return known._replace(share=Share((*sizes[:dim], 1, *sizes[dim:]), (*strides[:dim], 0, *strides[dim:]), offset))


def _first(known: Known) -> Known:
    """The first number of each matrix."""
    sizes, strides, offset = known.share
    return known._replace(share=Share((*sizes[:-2], 1, 1), (*strides[:-2], 0, 0), offset))


def _reduced(own: Share, dim: int) -> tuple[Share, Share]:
    """Where a number for each row along ``dim`` is, from within loops over all and from within loops over rows."""
    sizes = tuple(1 if place == dim else size for place, size in enumerate(own.sizes))
    strides = tuple(0 if size == 1 else step for size, step in zip(sizes, dense(sizes), strict=True))
    return Share(own.sizes, strides, 0), Share(sizes, strides, 0)


_RULES: dict[str, Callable[[Scope, str, Operation, Known], None]] = {
    "sum": _reduction,
    "mean": _reduction,
    "amax": _reduction,
    "amin": _reduction,
    "mm": _product,
    "bmm": _product,
    "baddbmm": _product,
    "addmm": _product,
    "_log_softmax": _softmax,
    "_softmax": _softmax,
    "_log_softmax_backward_data": _softmax_backward,
    "_softmax_backward_data": _softmax_backward,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "scatter": _scatter,
    "stack": _join,
    "cat": _join,
    "select_backward": _unselect,
    "slice_backward": _unslice,
}
