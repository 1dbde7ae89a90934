"""How many clients are stacked at once: pieces of few distinct sizes."""

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
"""A step of a stack of a few clients takes as long as this many steps of one client alone."""

MANY_STEPS = 8
"""Steps from which on a client may be better off alone."""

MOST_ALONE = 16
"""Clients that are run alone at most."""


def alone(steps: NDArray[np.int64], chunk: int) -> int:
    """How many of the last clients to run alone, before they make shorter ones of their stack wait for them.

    All clients of a stack take the steps of its longest. Of the choices, the least of the steps of those alone and
    ``STACKED`` times those of the stack is taken, whatever a clock says, so that it is the same on every machine.

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
    """Each client by itself."""
    for row in range(start, stop):
        yield Piece(row, row + 1, 1)


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
