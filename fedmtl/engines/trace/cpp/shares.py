"""Where one client's share of a stacked tensor lies in memory."""

from collections.abc import Sequence
from typing import NamedTuple


class Unlike(ValueError):
    """A call of another form than native code is written for."""


class Share(NamedTuple):
    """As many dimensions as the tensor; those of the stack have size 1, and so have those that repeat one number."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def last(self) -> tuple[int, int, int, int]:
        """Rows and columns of a matrix, and their strides."""
        return *self.sizes[-2:], *self.strides[-2:]  # type: ignore[return-value]


def share(shape: Sequence[int], strides: Sequence[int], offset: int, clients: int, each: int | None) -> Share:
    """One client's share.

    Args:
        shape, strides: of the tensor, strides in elements.
        offset: of its first element from the beginning of its memory.
        clients: K.
        each: elements from one client to the next in that memory; None where all clients share it.

    Raises:
        Unlike: the clients do not lie one after the other.
    """
    sizes, steps = [], []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1 or stride == 0:
            size, stride = 1, 0
        elif each is not None and stride >= each:
            if (size, stride) != (clients, each):
                raise Unlike(f"a dimension of {size} in steps of {stride}, where clients lie {each} apart")
            size, stride = 1, 0
        elif each is not None and size * stride > each:  # clients and their rows are one dimension
            if size * stride != clients * each or each % stride:
                raise Unlike(f"a dimension of {size} in steps of {stride}, where clients lie {each} apart")
            size = each // stride
        sizes.append(size)
        steps.append(stride)
    if each is not None and not 0 <= offset < each:
        raise Unlike(f"a view from element {offset} on, where clients lie {each} apart")
    return Share(tuple(sizes), tuple(steps), offset)
