"""A call of a function on tensors as a list of operations."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor


class Slot(NamedTuple):
    """A tensor of the call, by its number."""

    number: int


class View(NamedTuple):
    """Where in whose memory a tensor lies; numbers count elements, as in ``Tensor.as_strided``."""

    base: Slot
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


class Operation(NamedTuple):
    function: Any
    """An aten overload."""
    args: tuple[Any, ...]
    """Plain values, slots, and lists of them."""
    kwargs: dict[str, Any]
    outs: tuple[Slot | None, ...]
    single: bool
    """Whether the operation gives one tensor, not a tuple."""
    view: View | None = None
    """For a view, however many views it was taken through: the same taken at once. None where that is not safe."""
    changed: frozenset[Slot] = frozenset()
    """Whose memory is changed in place."""

    def reads(self) -> list[Slot]:
        """What must be there before."""
        return [self.view.base] if self.view is not None else list(slots((*self.args, *self.kwargs.values())))


class Recording(NamedTuple):
    """A call that can be played back on inputs of the same shapes, strides and dtypes."""

    inputs: tuple[Slot, ...]
    operations: list[Operation]
    outputs: tuple[Slot, ...]
    constants: dict[Slot, Tensor]


FILLS = frozenset({"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"})
"""Operations that read nothing of the tensor that they are given but its shape and dtype."""


def swapped(item: Any, value: Callable[[Slot], Any]) -> Any:
    """An argument with a value for each of its slots."""
    if isinstance(item, Slot):
        return value(item)
    return [swapped(part, value) for part in item] if isinstance(item, list) else item


def slots(items: Iterable[Any]) -> Iterable[Slot]:
    """Those in plain values, slots, and lists of them."""
    for item in items:
        if isinstance(item, Slot):
            yield item
        elif isinstance(item, list):
            yield from slots(item)


def needed(
    operations: Sequence[Operation], outputs: Sequence[Slot], bases: Mapping[Slot, Slot], constants: Container[Slot]
) -> list[Operation]:
    """Those that the outputs depend on, in their order.

    Args:
        bases: tensor -> the tensor in whose memory it lies, where that is another.
        constants: tensors that are kept and need not be made.
    """
    wanted = set(outputs)
    touched = {bases.get(slot, slot) for slot in wanted}
    kept: list[Operation] = []
    for operation in reversed(operations):
        made = [slot for slot in operation.outs if slot is not None and slot not in constants]
        if wanted.isdisjoint(made) and touched.isdisjoint(operation.changed):
            continue
        kept.append(operation)
        wanted.update(operation.reads())
        touched.update(bases.get(slot, slot) for slot in operation.reads())
    return kept[::-1]
