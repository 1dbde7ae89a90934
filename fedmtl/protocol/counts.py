"""Sparse counts as bytes, of many clients at once; the number of bytes reveals the sum of the counts alone.

A client's counts of a few tasks are, for each task, E, the sum of its counts, in 4 bytes, and

    each cell, as often as it counts, ascending, in as many bytes as the largest cell needs; or
    the counts of all cells, 4 bytes each, where that is shorter;

numbers little-endian. So lengths follow from the labels alone, and outputs that differ by rounding, as those of two
engines do, leave the ledger as it is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.tally import spans

_NUMBER = 4
"""Bytes of E, and of a count."""

Counts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""K clients' numbers of cells, [K]; their cells, ascending for each client, and the counts of these, end to end."""


def width(cells: int) -> int:
    """Bytes of the number of one of some cells."""
    return max(1, -(-(cells - 1).bit_length() // 8))


def encode(tasks: Sequence[Counts], cells: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of K clients, end to end, and the number of each, [K].

    Args:
        tasks: counts of each task.
        cells: the number of cells of each task.
    """
    sums = [_sums(lengths, counts) for lengths, _, counts in tasks]
    sizes = np.sum([_size(total, most) for total, most in zip(sums, cells, strict=True)], axis=0)
    data = np.zeros(int(sizes.sum()), np.uint8)
    place = np.cumsum(sizes) - sizes
    for (lengths, found, counts), total, most in zip(tasks, sums, cells, strict=True):
        data[place[:, None] + np.arange(_NUMBER)] = total.astype("<u4")[:, None].view(np.uint8)
        start, dense = place + _NUMBER, _is_dense(total, most)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        some = dense[owner]
        where = start[owner[some]] + _NUMBER * found[some]
        data[where[:, None] + np.arange(_NUMBER)] = counts[some].astype("<u4")[:, None].view(np.uint8)
        wide = width(most)
        events = np.repeat(found[~some], counts[~some]).astype("<i8")[:, None].view(np.uint8)[:, :wide]
        data[spans(start[~dense], wide * total[~dense])] = events.reshape(-1)
        place = place + _size(total, most)
    return data, sizes


def decode(
    data: NDArray[np.uint8], sizes: NDArray[np.int64], cells: Sequence[int]
) -> tuple[list[Counts], NDArray[np.bool_]]:
    """Decode counts, and return a mask [K] of the clients whose bytes ``encode`` can have made; others have no cells.

    Args:
        data: bytes of K clients, end to end.
        sizes: the number of each, [K].
        cells: the number of cells of each task.
    """
    end = np.cumsum(sizes)
    place, good = end - sizes, np.ones(len(sizes), bool)
    padded = np.append(data, np.zeros(_NUMBER, np.uint8))
    found: list[Counts] = []
    for most in cells:
        good &= place + _NUMBER <= end
        heads = padded[np.where(good, place, 0)[:, None] + np.arange(_NUMBER)]
        total = np.where(good, np.ascontiguousarray(heads).view("<u4")[:, 0].astype(np.int64), 0)
        good &= place + _size(total, most) <= end
        total = np.where(good, total, 0)
        dense = _is_dense(total, most)
        owners, read, counts = _read_dense(data, place + _NUMBER, np.flatnonzero(dense), most)
        others, listed, repeats, bad = _read_list(data, place + _NUMBER, np.where(dense, 0, total), most)
        owners, read = np.concatenate([owners, others]), np.concatenate([read, listed])
        counts = np.concatenate([counts, repeats])
        good[bad] = False
        good &= np.bincount(owners, counts, len(sizes)) == total
        order = np.argsort(owners, kind="stable")
        found.append((np.bincount(owners, minlength=len(sizes)), read[order], counts[order]))
        place = place + _size(total, most)
    good &= place == end
    return [_of(good, counts) for counts in found], good


def _size(total: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
    """Bytes of one task's counts, [K]."""
    return _NUMBER + np.minimum(total * width(cells), _NUMBER * cells)


def _is_dense(total: NDArray[np.int64], cells: int) -> NDArray[np.bool_]:
    return total * width(cells) > _NUMBER * cells


def _sums(lengths: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of each client's counts, [K]."""
    added = np.concatenate([[0], np.cumsum(counts)])
    ends = np.cumsum(lengths)
    return added[ends] - added[ends - lengths]


def _read_dense(
    data: NDArray[np.uint8], start: NDArray[np.int64], rows: NDArray[np.int64], cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Client, cell and count of each cell that is not empty, of clients whose cells are all there."""
    if not len(rows):
        none = np.zeros(0, np.int64)
        return none, none, none
    values = np.ascontiguousarray(data[start[rows][:, None] + np.arange(_NUMBER * cells)]).view("<u4")
    row, cell = np.nonzero(values)
    return rows[row], cell, values[row, cell].astype(np.int64)


def _read_list(
    data: NDArray[np.uint8], start: NDArray[np.int64], total: NDArray[np.int64], cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The same of clients whose cells are listed; and the clients whose lists are none."""
    wide = width(cells)
    digits = np.zeros((int(total.sum()), 8), np.uint8)
    digits[:, :wide] = data[spans(start, wide * total)].reshape(-1, wide)
    values, owner = digits.view("<i8")[:, 0], np.repeat(np.arange(len(total)), total)
    same_owner = owner[1:] == owner[:-1]
    bad = owner[values >= cells]
    bad = np.concatenate([bad, owner[1:][same_owner & (values[1:] < values[:-1])]])
    first = np.flatnonzero(np.concatenate([[True], ~same_owner | (values[1:] != values[:-1])])[: len(values)])
    return owner[first], values[first], np.diff(first, append=len(values)), bad


def _of(good: NDArray[np.bool_], counts: Counts) -> Counts:
    if good.all():
        return counts
    lengths, cells, values = counts
    some = np.repeat(good, lengths)
    return np.where(good, lengths, 0), cells[some], values[some]
