"""Graphs: calls of a function on tensors as lists of operations."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor


class Value(NamedTuple):
    """A tensor of the call, by its number."""

    number: int


class View(NamedTuple):
    """Position of a tensor in the memory of another; numbers count elements, as in ``Tensor.as_strided``."""

    base: Value
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


class Node(NamedTuple):
    """One operation of the call."""

    function: Any
    """An aten overload."""
    args: tuple[Any, ...]
    """Plain Python values, graph values, and lists of them."""
    kwargs: dict[str, Any]
    outs: tuple[Value | None, ...]
    single: bool
    """True if the operation returns one tensor, not a tuple."""
    view: View | None = None
    """For a view: the same view, taken directly of the base. None where that is not safe."""
    changed: frozenset[Value] = frozenset()
    """Values whose memory is changed in place."""

    def reads(self) -> list[Value]:
        """Return the values that must exist before."""
        return [self.view.base] if self.view is not None else list(values_in((*self.args, *self.kwargs.values())))


class Graph(NamedTuple):
    """A call that can be replayed on inputs of the same shapes, strides and dtypes."""

    inputs: tuple[Value, ...]
    nodes: list[Node]
    outputs: tuple[Value, ...]
    constants: dict[Value, Tensor]


FILLS = frozenset({"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"})
"""Operations that read only the shape and dtype of their tensor."""


def map_values(item: Any, function: Callable[[Value], Any]) -> Any:
    """Return an argument with each graph value mapped by a function."""
    if isinstance(item, Value):
        return function(item)
    return [map_values(part, function) for part in item] if isinstance(item, list) else item


def values_in(items: Iterable[Any]) -> Iterable[Value]:
    """Yield the graph values in arguments, also those in lists."""
    for item in items:
        if isinstance(item, Value):
            yield item
        elif isinstance(item, list):
            yield from values_in(item)


def needed(
    nodes: Sequence[Node], outputs: Sequence[Value], bases: Mapping[Value, Value], constants: Container[Value]
) -> list[Node]:
    """Return the nodes that the outputs depend on, in their order.

    Args:
        nodes: of a call.
        outputs: of the call.
        bases: view -> the value whose memory it is in.
        constants: values that are stored and need not be computed.
    """
    wanted = set(outputs)
    touched = {bases.get(value, value) for value in wanted}
    kept: list[Node] = []
    for node in reversed(nodes):
        made = [value for value in node.outs if value is not None and value not in constants]
        if wanted.isdisjoint(made) and touched.isdisjoint(node.changed):
            continue
        kept.append(node)
        wanted.update(node.reads())
        touched.update(bases.get(value, value) for value in node.reads())
    return kept[::-1]
