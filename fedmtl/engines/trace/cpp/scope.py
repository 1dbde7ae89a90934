"""What C++ is written with: which numbers of which memory are a client's, and loops over them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedmtl.engines.trace.cpp.shares import Share, Unlike
from fedmtl.engines.trace.graph import Slot

TYPES = {torch.float32: "float", torch.bool: "bool", torch.int64: "int64_t"}


class Known(NamedTuple):
    """A tensor of the call."""

    value: Tensor
    """Of all clients, for its shape and type."""
    base: str
    """The name of its memory."""
    share: Share


class Scope:
    """The tensors that are known so far, and the statements that make them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.known: dict[Slot, Known] = {}

    def loop(self, over: Share, statement: str) -> None:
        """A statement for each number of a share, those that lie side by side innermost; i0, i1, … count."""
        dims = sorted((dim for dim, size in enumerate(over.sizes) if size > 1), key=lambda dim: -over.strides[dim])
        heads = [f"for (int i{dim} = 0; i{dim} < {over.sizes[dim]}; i{dim}++)" for dim in dims]
        self.lines.append(" ".join([*heads, "{", statement, "}"]))

    def source(self, known: Known, out: Share) -> str:
        """A tensor's number for each of another's, by the rules of broadcasting.

        Raises:
            Unlike: their sizes do not fit.
        """
        missing = len(out.sizes) - len(known.share.sizes)
        for size, wanted in zip(known.share.sizes, out.sizes[missing:], strict=True):
            if size not in (1, wanted):
                raise Unlike(f"sizes {known.share.sizes} and {out.sizes}")
        return at(known.base, Share(out.sizes, (0,) * missing + known.share.strides, known.share.offset))


def at(base: str, own: Share) -> str:
    return f"{base}[{index(own)}]"


def index(own: Share) -> str:
    steps = zip(own.sizes, own.strides, strict=True)
    terms = [f"i{dim} * {stride}" for dim, (size, stride) in enumerate(steps) if size > 1 and stride]
    return " + ".join([str(own.offset), *terms])


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a contiguous tensor."""
    return tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))


def type_of(value: Tensor) -> str:
    if value.dtype not in TYPES:
        raise Unlike(f"numbers of type {value.dtype}")
    return TYPES[value.dtype]


def literal(value: Any, kind: str) -> str:
    if not isinstance(value, (bool, int, float)):
        raise Unlike(f"an argument {value!r}")
    if isinstance(value, bool):
        return str(value).lower()
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return f"({'-' if value < 0 else ''}std::numeric_limits<{kind}>::infinity())"
    return f"({kind}){value!r}"
