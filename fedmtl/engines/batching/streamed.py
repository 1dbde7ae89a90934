"""Batches whose inputs are read one batch after another: a client's examples may be larger than memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.types import Batch
from fedmtl.engines.batching.chunks import Piece

AT_ONCE = 2**23
"""Bytes of inputs that are read at once for clients that run together; a client with more reads batch by batch."""


class StreamedBatch(Mapping[str, Tensor]):
    """A batch whose inputs are read at their first use, and kept while the batch is."""

    def __init__(self, read: Callable[[], Tensor], rest: Batch) -> None:
        self._read, self._rest = read, rest
        self._x: Tensor | None = None

    def __getitem__(self, key: str) -> Tensor:
        if key != "x":
            return self._rest[key]
        if self._x is None:
            self._x = self._read()
        return self._x

    def __iter__(self) -> Iterator[str]:
        yield "x"
        yield from self._rest

    def __len__(self) -> int:
        return len(self._rest) + 1


class StreamedBatches(Sequence[Batch]):
    """One epoch, of which no batch is held.

    Args:
        read: step -> the inputs of its batch.
        rest: the other columns of each batch.
    """

    def __init__(self, read: Callable[[int], Tensor], rest: Sequence[Batch]) -> None:
        self._read, self._rest = read, rest

    def __len__(self) -> int:
        return len(self._rest)

    def __getitem__(self, step: Any) -> Any:
        if isinstance(step, slice):
            return [self[one] for one in range(len(self))[step]]
        number = range(len(self))[step]
        return StreamedBatch(partial(self._read, number), self._rest[number])

    def map(self, convert: Callable[[Tensor], Tensor]) -> "StreamedBatches":
        """The batches with each column converted, inputs when they are read."""
        rest = [{key: convert(value) for key, value in batch.items()} for batch in self._rest]
        return StreamedBatches(lambda step: convert(self._read(step)), rest)


def bounded(pieces: Sequence[Piece], sizes: NDArray[np.int64], most: int = AT_ONCE) -> Iterator[Piece]:
    """Cut pieces further, so that clients of one read at most ``most`` bytes together, or are one client.

    Args:
        pieces: of K clients.
        sizes: bytes that each reads, in the order of the pieces, [K].
        most: bytes.
    """
    for start, stop, size in pieces:
        first = start
        while first < stop:
            largest = np.maximum.accumulate(sizes[first:stop]) * np.arange(1, stop - first + 1)
            count = max(1, int(np.searchsorted(largest, most, side="right")))
            whole = (first, first + count) == (start, stop)
            yield Piece(first, first + count, size if whole else count)
            first += count
