"""Pieces: each client once, balanced, little padding, few sizes."""

import numpy as np
import pytest

from fedmtl.engines.batching.chunks import alone, pieces, singly


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 100, 125, 128, 250])
@pytest.mark.parametrize("n", [1, 2, 5, 19, 20, 63, 64, 65, 127, 493, 508, 1000, 1003])
def test_each_client_once_and_never_more_than_a_chunk(n: int, chunk: int) -> None:
    cut = list(pieces(n, chunk))
    assert [place for piece in cut for place in range(piece.start, piece.stop)] == list(range(n))
    assert all(0 < piece.stop - piece.start <= piece.size <= chunk for piece in cut)
    padding = sum(piece.size for piece in cut) - n
    assert padding < 0.05 * n
    smallest, largest = min(piece.size for piece in cut), max(piece.size for piece in cut)
    assert largest - smallest <= max(1, chunk // 8)


def test_by_hand() -> None:
    """508 in chunks of 128: q is 16 (at most 128/8 and 508/20 = 25), 32 units in 4 pieces: 128 each, 4 are padding."""
    assert list(pieces(508, 128)) == [(0, 128, 128), (128, 256, 128), (256, 384, 128), (384, 508, 128)]
    assert list(pieces(7, 3)) == [(0, 3, 3), (3, 5, 2), (5, 7, 2)]
    assert list(pieces(0, 3)) == []


def test_parts_of_a_cohort_that_vary_have_few_sizes() -> None:
    """A node's half of 1,000 clients is 500 ± 16 (a standard deviation): three standard deviations, at most 5 sizes."""
    assert len({piece.size for n in range(452, 549) for piece in pieces(n, 128)}) <= 5


@pytest.mark.parametrize(
    ("steps", "chunk", "count"),
    [
        ([157], 64, 1),  # 157 < 2 · 157
        ([1, 1, 157], 64, 1),  # 157 + 2 · 1, and 159 with all three alone: the first of the least
        ([1] * 40 + [157], 64, 1),
        ([150, 157], 64, 2),  # 307 < 314
        ([157, 157], 64, 0),  # as much: stacked
        ([100, 110, 120, 157], 64, 0),  # 314 < 157 + 240
        ([1, 1, 200, 210], 64, 2),  # 412 < 420 < 610
        ([1, 1, 1, 7], 64, 0),  # short
        ([], 64, 0),
    ],
)
def test_clients_that_run_alone(steps: list[int], chunk: int, count: int) -> None:
    """A client alone takes its steps, a stack twice those of its longest."""
    assert alone(np.array(steps, np.int64), chunk) == count
    assert [piece.start for piece in singly(3, 5)] == [3, 4] and all(piece.size == 1 for piece in singly(3, 5))
