"""Elementwise operations of torch on a client's view, as loops in C++."""

import math

import torch

from fedmtl.engines.trace.cpp.scope import TYPES, Known, Scope, at, literal, type_of
from fedmtl.engines.trace.graph import Node, Value

EACH = {
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
"""Operation -> its C++ expression of the arguments."""

_COMPARES = frozenset("eq ne gt ge lt le isnan logical_and logical_or logical_not where bitwise_not".split())
"""Operations whose arguments keep their own type."""


def elementwise(scope: Scope, name: str, node: Node, out: Known) -> None:
    schema = [argument.name for argument in node.function._schema.arguments]
    given = dict(zip(schema, node.args, strict=False)) | node.kwargs
    kind = type_of(out.example)
    factors = {key: given.pop(key, 1) for key in ("alpha", "value")}
    least, most = given.pop("min", None), given.pop("max", None)
    for key in ("dtype", "layout", "device", "pin_memory", "non_blocking", "memory_format"):
        given.pop(key, None)
    terms = []
    for item in given.values():
        if isinstance(item, Value):
            term = scope.source(scope.known[item], out.view)
            terms.append(term if name in _COMPARES or kind == "bool" else f"({kind}){term}")
        else:
            terms.append(literal(item, _operand_type(scope, node) if name in _COMPARES else kind))
    made = EACH[name].format(
        *terms,
        alpha="" if factors["alpha"] == 1 else f"{literal(factors['alpha'], kind)} * ",
        value=literal(factors["value"], kind),
        min=literal(-math.inf if least is None else least, kind),
        max=literal(math.inf if most is None else most, kind),
    )
    scope.loop(out.view, f"{at(out.base, out.view)} = {made};")


def _operand_type(scope: Scope, node: Node) -> str:
    """Return the C++ type of a number that is compared with tensors."""
    kinds = [scope.known[item].example.dtype for item in node.args if isinstance(item, Value)]
    floats = [kind for kind in kinds if kind.is_floating_point]
    return TYPES[(floats or [kind for kind in kinds if kind != torch.bool] or [torch.bool])[0]]
