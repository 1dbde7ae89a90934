"""How many clients are stacked at once: pieces of few distinct sizes."""

from collections.abc import Iterator
from typing import NamedTuple


class Piece(NamedTuple):
    start: int
    stop: int
    size: int
    """Rows of the stack, at least ``stop − start``; the rest is padding."""


def exact(n: int, chunk: int) -> Iterator[Piece]:
    """Cut n clients into pieces of ``chunk``, the last of what is left: for code that takes any number."""
    for start in range(0, n, chunk):
        stop = min(n, start + chunk)
        yield Piece(start, stop, stop - start)


def pieces(n: int, chunk: int) -> Iterator[Piece]:
    """Cut n clients into balanced pieces of at most ``chunk``, whose sizes are multiples of a quantum q.

    A node's share of the cohort varies from round to round, and each size is a shape that must be recorded or
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
