"""Counts as bytes: back as they were, of lengths that the sum of counts decides, and nothing else accepted."""

from typing import Any

import numpy as np
import pytest

from fedmtl.protocol.counts import Counts, decode, encode, width


def random_counts(draw: np.random.Generator, clients: int, cells: int) -> Counts:
    lengths, found, counts = [], [], []
    for _ in range(clients):
        some = int(draw.integers(0, min(cells, 9)))
        lengths.append(some)
        found.append(np.sort(draw.choice(cells, some, replace=False)))
        counts.append(draw.integers(1, 2 ** draw.integers(1, 9), some))
    return np.array(lengths), np.concatenate(found).astype(np.int64), np.concatenate(counts)


def cases(number: int) -> tuple[np.random.Generator, list[int], list[Counts], int]:
    draw = np.random.default_rng(number)
    clients = int(draw.integers(1, 8))
    cells = [int(draw.integers(1, 2 ** draw.integers(1, 20))) for _ in range(draw.integers(1, 4))]
    return draw, cells, [random_counts(draw, clients, most) for most in cells], clients


@pytest.mark.parametrize("number", range(100))
def test_counts_come_back(number: int) -> None:
    _, cells, tasks, _ = cases(number)
    data, sizes = encode(tasks, cells)
    found, good = decode(data, sizes, cells)
    assert good.all() and sizes.sum() == len(data)
    for given, got in zip(tasks, found, strict=True):
        for one, other in zip(given, got, strict=True):
            np.testing.assert_array_equal(one, other)


def test_lengths_follow_from_the_sum_of_counts() -> None:
    """4 bytes of E; E cells of 2 bytes each, of 1000; or 4 bytes for each of 3 cells, from 13 examples on."""
    none = np.zeros(0, np.int64)
    for cells, wanted in ((1000, [4, 4 + 2 * 5, 4 + 2 * 5]), (3, [4, 4 + 5, 4 + 5])):
        counts = np.array([0, 1, 2]), np.array([2, 0, 1]), np.array([5, 2, 3])
        assert encode([counts], [cells])[1].tolist() == wanted
    assert encode([(np.array([1]), np.array([1]), np.array([13]))], [3])[1].tolist() == [4 + 12]
    assert encode([(np.array([0]), none, none)], [3])[1].tolist() == [4]
    assert [width(cells) for cells in (1, 256, 257, 65536, 65537, 2**24 + 1)] == [1, 1, 2, 2, 3, 4]


def check(found: list[Counts], good: Any, cells: list[int]) -> None:
    for (lengths, where, counts), most in zip(found, cells, strict=True):
        assert lengths.sum() == len(where) == len(counts) and (lengths[~good] == 0).all()
        assert ((where >= 0) & (where < most)).all() and (counts > 0).all()


@pytest.mark.parametrize("number", range(100))
def test_other_bytes_are_refused_or_are_counts(number: int) -> None:
    """Bytes changed, cut at random, or random: never an error, and a neighbour's bytes do not matter."""
    draw, cells, tasks, clients = cases(number)
    data, sizes = encode(tasks, cells)
    spoilt = data.copy()
    row = int(draw.integers(clients))
    own = slice(int(sizes[:row].sum()), int(sizes[: row + 1].sum()))
    spoilt[own] = draw.integers(0, 256, own.stop - own.start)
    found, good = decode(spoilt, sizes, cells)
    check(found, good, cells)
    assert np.delete(good, row).all()
    junk, cut = draw.integers(0, 256, 60).astype(np.uint8), np.sort(draw.integers(0, 61, clients - 1))
    check(*decode(junk, np.diff(np.concatenate([[0], cut, [60]])), cells), cells)
    found, good = decode(data[:-1], np.append(sizes[:-1], sizes[-1] - 1), cells)
    check(found, good, cells)
    assert not good[-1] and good[:-1].all()
