"""Chunks: stacks of clients of few distinct sizes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Piece(NamedTuple):
    start: int
    stop: int
    size: int
    """Rows of the stack, at least ``stop − start``; the rest is padding."""


STACKED = 2
"""Cost of one step of a stack, in steps of one client alone."""

MANY_STEPS = 8
"""Fewest steps of a client that may be faster alone."""

MOST_ALONE = 16
"""Most clients that are run alone."""


def alone(steps: NDArray[np.int64], chunk: int) -> int:
    """Return the number of longest clients to run alone instead of in a stack.

    All clients of a stack take the steps of its longest client. The choice minimizes the steps of the clients alone
    plus ``STACKED`` times those of the stack. No time is measured, so the choice is the same on every machine.

    Args:
        steps: of each client, ascending.
        chunk: clients of a stack.
    """
    if not len(steps) or steps[-1] < MANY_STEPS:
        return 0
    last = steps[-min(chunk, MOST_ALONE + 1) :][::-1].astype(np.int64)
    own = np.concatenate([[0], np.cumsum(last)])
    longest = np.append(last, 0 if len(last) == len(steps) else last[-1])
    return int((own + STACKED * longest).argmin())


def singly(start: int, stop: int) -> Iterator[Piece]:
    """Yield each client as a piece of its own."""
    for row in range(start, stop):
        yield Piece(row, row + 1, 1)


def exact(n: int, chunk: int) -> Iterator[Piece]:
    """Cut n clients into pieces of ``chunk``, the last one smaller: for code that takes any number of clients."""
    for start in range(0, n, chunk):
        stop = min(n, start + chunk)
        yield Piece(start, stop, stop - start)


def pieces(n: int, chunk: int) -> Iterator[Piece]:
    """Cut n clients into balanced pieces of at most ``chunk``, whose sizes are multiples of a quantum q.

    The number of clients of a node varies from round to round, and each size is a shape that must be traced or
    compiled. q is the largest power of two up to chunk / 8 and n / 20: sizes repeat, and less than q clients, so less
    than 5 %, are padding.
    """
    quantum = 1
    while 2 * quantum <= min(chunk / 8, n / 20):
        quantum *= 2
    units = -(-n // quantum)
    count = -(-units // (chunk // quantum))
    start = 0
    for piece in range(count):
        size = quantum * (units // count + (piece < units % count))
        stop = min(n, start + size)
        yield Piece(start, stop, size)
        start = stop
