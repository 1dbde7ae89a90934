"""Building blocks of C++ source: known tensors, index expressions, loops over a client's view, literals."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedmtl.engines.trace.codegen import Unsupported
from fedmtl.engines.trace.cpp.client_view import ClientView
from fedmtl.engines.trace.graph import Value

TYPES = {torch.float32: "float", torch.bool: "bool", torch.int64: "int64_t"}


class Known(NamedTuple):
    """A tensor of the call."""

    example: Tensor
    """A tensor like it, of all clients, for its shape and type."""
    base: str
    """Name of its memory in C++."""
    view: ClientView


class Scope:
    """The tensors that are known so far, and the statements that compute them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.known: dict[Value, Known] = {}

    def loop(self, over: ClientView, statement: str) -> None:
        """Add a loop over the numbers of a view with counters i0, i1, …; adjacent numbers are innermost."""
        dims = sorted((dim for dim, size in enumerate(over.sizes) if size > 1), key=lambda dim: -over.strides[dim])
        heads = [f"for (int i{dim} = 0; i{dim} < {over.sizes[dim]}; i{dim}++)" for dim in dims]
        self.lines.append(" ".join([*heads, "{", statement, "}"]))

    def source(self, known: Known, out: ClientView) -> str:
        """Return the expression of a tensor's number for each number of ``out``, by the rules of broadcasting.

        Raises:
            Unlike: their sizes do not fit.
        """
        missing = len(out.sizes) - len(known.view.sizes)
        for size, wanted in zip(known.view.sizes, out.sizes[missing:], strict=True):
            if size not in (1, wanted):
                raise Unsupported(f"sizes {known.view.sizes} and {out.sizes}")
        return at(known.base, ClientView(out.sizes, (0,) * missing + known.view.strides, known.view.offset))


def at(base: str, own: ClientView) -> str:
    return f"{base}[{index(own)}]"


def index(own: ClientView) -> str:
    steps = zip(own.sizes, own.strides, strict=True)
    terms = [f"i{dim} * {stride}" for dim, (size, stride) in enumerate(steps) if size > 1 and stride]
    return " + ".join([str(own.offset), *terms])


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor."""
    return tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))


def type_of(tensor: Tensor) -> str:
    if tensor.dtype not in TYPES:
        raise Unsupported(f"numbers of type {tensor.dtype}")
    return TYPES[tensor.dtype]


def literal(number: Any, kind: str) -> str:
    if not isinstance(number, (bool, int, float)):
        raise Unsupported(f"an argument {number!r}")
    if isinstance(number, bool):
        return str(number).lower()
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return f"({'-' if number < 0 else ''}std::numeric_limits<{kind}>::infinity())"
    return f"({kind}){number!r}"


def check_whole(what: str, known: Known, dim: int) -> None:
    """Check that a dimension neither contains that of the clients nor repeats one number."""
    if known.view.sizes[dim] != known.example.shape[dim]:
        raise Unsupported(f"{what} over clients")


def widened(known: Known, dim: int) -> Known:
    """Return the tensor with a new dimension of size 1."""
    sizes, strides, offset = known.view
    return known._replace(view=ClientView((*sizes[:dim], 1, *sizes[dim:]), (*strides[:dim], 0, *strides[dim:]), offset))
