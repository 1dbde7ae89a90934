"""Elias's gamma code of many whole numbers at once."""

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
"""Zeros and ones, a byte each."""

LARGEST = 2**16 - 1
"""The largest number that is coded."""

LOG2 = np.frexp(np.arange(LARGEST + 1, dtype=np.float32))[1].astype(np.int8) - 1
"""[LARGEST + 1]: floor(log2 v), from v = 1."""


class Damaged(ValueError):
    """Bits that are no code."""


def encode(numbers: NDArray[np.integer]) -> list[Bits]:
    """Return the bits of whole numbers from 1 to ``LARGEST``, in pieces.

    Elias 1975: with N = floor(log2 v), N zeros, a one, and the N lower bits of v; 2N + 1 bits. Here the zeros and ones
    of all numbers come first, then the lowest bits of all that have one, then their second ones, …: as many bits, which
    one pass over all numbers can read.

    >>> [piece.tolist() for piece in encode(np.array([1, 5, 2]))]
    [[1, 0, 0, 1, 0, 1], [1, 0], [0]]
    """
    log2 = LOG2.take(numbers)
    ends = np.cumsum(log2, dtype=np.int64) + np.arange(numbers.size)
    unary = np.zeros(ends[-1] + 1 if numbers.size else 0, np.uint8)
    unary[ends] = 1
    pieces, rest = [unary], numbers
    for bit in range(int(log2.max(initial=0))):
        has = np.flatnonzero(log2 > bit)
        rest, log2 = rest.take(has), log2.take(has)
        pieces.append((rest >> bit & 1).astype(np.uint8))
    return pieces


def decode(bits: Bits, count: int, total: int) -> tuple[NDArray[np.int64], int]:
    """Return ``count`` numbers, and how many bits were theirs.

    Args:
        bits: theirs, and more behind them.
        count: of numbers.
        total: their sum is at most this, and so are their zeros and ones: N + 1 <= v.

    Raises:
        Damaged: fewer are there, or one is beyond ``LARGEST``.
    """
    if count == 0:
        return np.zeros(0, np.int64), 0
    ends = np.flatnonzero(bits[:total].view(np.bool_))[:count]  # of truth values, in a third of the time
    if ends.size < count:
        raise Damaged(f"{count} numbers begin, of which {ends.size} end")
    log2 = ends - 1
    log2[1:] -= ends[:-1]
    log2[0] += 1
    most, used = int(log2.max()), int(ends[-1]) + 1
    if most > LOG2[-1] or used + int(log2.sum()) > bits.size:
        raise Damaged(f"a number of {most + 1} bits, in {bits.size}")
    numbers = np.left_shift(1, log2)
    for bit in range(most):
        has = np.flatnonzero(log2 > bit)
        numbers[has] |= bits[used : used + has.size].astype(np.int64) << bit
        used += has.size
    return numbers, used


def mean_bits(probability: float) -> float:
    """The mean bits of a geometric number: P(v) = probability (1 - probability)^(v - 1).

    2 E[N] + 1, with E[N] = Σ_j P(v >= 2^j) over j from 1.
    """
    return 1 + 2 * sum((1 - probability) ** (2**j - 1) for j in range(1, 40)) if probability else 0.0
