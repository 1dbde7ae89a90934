"""Position of one client's part of a stacked tensor in memory."""

from collections.abc import Sequence
from typing import NamedTuple

from fedmtl.engines.trace.codegen import Unsupported


class ClientView(NamedTuple):
    """One client's view of a tensor; dimensions of the stack, or that repeat one number, have size 1."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def last(self) -> tuple[int, int, int, int]:
        """Rows, columns and strides of the last two dimensions."""
        return *self.sizes[-2:], *self.strides[-2:]  # type: ignore[return-value]


def client_view(
    shape: Sequence[int], strides: Sequence[int], offset: int, clients: int, each: int | None
) -> ClientView:
    """Return the first client's view of a tensor.

    Args:
        shape: of the tensor.
        strides: of the tensor, in elements.
        offset: of its first element in its memory.
        clients: K.
        each: elements from one client to the next in that memory; None if all clients share it.

    Raises:
        Unlike: the clients are not one after the other in memory.
    """
    sizes, steps = [], []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1 or stride == 0:
            size, stride = 1, 0
        elif each is not None and stride >= each:
            if (size, stride) != (clients, each):
                raise Unsupported(f"a dimension of {size} in steps of {stride}, where clients are {each} apart")
            size, stride = 1, 0
        elif each is not None and size * stride > each:  # clients and their rows are one dimension
            if size * stride != clients * each or each % stride:
                raise Unsupported(f"a dimension of {size} in steps of {stride}, where clients are {each} apart")
            size = each // stride
        sizes.append(size)
        steps.append(stride)
    if each is not None and not 0 <= offset < each:
        raise Unsupported(f"a view from element {offset} on, where clients are {each} apart")
    return ClientView(tuple(sizes), tuple(steps), offset)
