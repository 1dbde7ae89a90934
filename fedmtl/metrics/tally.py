"""Additive statistics of K clients: a few numbers each, and counts in cells of which most are empty."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.int64]


class Tally(NamedTuple):
    """Statistics of K clients on one task; those of client k are row k of ``numbers`` and the cells up to ``ends[k]``.

    A client with n examples fills at most n cells of each count, whatever their number is.
    """

    numbers: NDArray[np.float64]
    """[K, f]."""
    ends: NDArray[np.int64]
    """[K]: the cells of client k are ``ends[k − 1]`` to ``ends[k]``."""
    cells: Cells
    """Cells that are not empty, ascending for each client, [m]."""
    counts: NDArray[np.int64]
    """Content of each of these cells, [m]."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Cells of each client, [K]."""
        return np.diff(self.ends, prepend=0)

    @property
    def owners(self) -> NDArray[np.int64]:
        """The client's row of each cell, [m]."""
        return np.repeat(np.arange(len(self.ends)), self.lengths)

    def select(self, rows: NDArray[np.int64]) -> "Tally":
        """The statistics of some clients, in that order."""
        lengths = self.lengths
        places = spans((self.ends - lengths)[rows], lengths[rows])
        return Tally(self.numbers[rows], np.cumsum(lengths[rows]), self.cells[places], self.counts[places])

    def total(self) -> "Tally":
        """The sum over clients, as of one."""
        return tally(np.zeros(len(self.cells), np.int64), self.cells, self.counts, self.numbers.sum(0, keepdims=True))


def tally(owners: Cells, cells: Cells, counts: NDArray[np.int64] | None, numbers: NDArray[np.float64]) -> Tally:
    """Statistics from additions to cells in any order.

    Args:
        owners: the client's row of each addition, [E].
        cells: where to, [E].
        counts: how much, [E]; None for one each.
        numbers: [K, f].
    """
    found, place = np.unique(cells, return_inverse=True)
    key, which = np.unique(owners * max(1, len(found)) + place, return_inverse=True)
    sums = np.bincount(which, counts, len(key)).astype(np.int64)
    owner = key // max(1, len(found))
    ends = np.cumsum(np.bincount(owner, minlength=len(numbers)))
    return Tally(numbers, ends, found[key % max(1, len(found))] if len(found) else key, sums)


def joined(parts: Sequence[Tally]) -> Tally:
    """The clients of all parts, one after the other."""
    starts = np.cumsum([0, *(len(part.cells) for part in parts[:-1])])
    return Tally(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.ends + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.cells for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )


def spans(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, …, start + length − 1 of each span, end to end."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
