"""Random rotations by Hadamard matrices, in blocks whose widths are powers of two.

    Ailon, Chazelle. The fast Johnson-Lindenstrauss transform. SIAM J. Computing 2009, doi:10.1137/060673096

As products with small matrices of 1 and -1, which BLAS multiplies faster than numpy adds.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import words

WIDEST, NARROWEST = 2**13, 2**7
"""Widths of blocks. A rotation of fewer numbers mixes too few for its output to be nearly Gaussian; products of wider
blocks are so large that BLAS starts threads for each, which cost more than they save."""
ROUNDS = 3
"""The most rounds of a rotation, see ``rounds_of``."""
CHUNK = 2**16
"""Numbers that are transformed at a time: they and two copies stay in a core's cache."""


def widths(size: int) -> list[tuple[int, int]]:
    """Return the blocks of a vector as pairs (count, width), the widest first: 8192, then powers of two down to 128.

    The vector is padded to a multiple of 128 numbers, and no more.

    >>> widths(49_536), widths(1000)
    ([(6, 8192), (1, 256), (1, 128)], [(1, 1024)])
    """
    padded = -(-size // NARROWEST) * NARROWEST
    rest = [(1, 1 << log) for log in reversed(range(WIDEST.bit_length() - 1)) if padded >> log & 1]
    return [(padded // WIDEST, WIDEST), *rest] if padded >= WIDEST else rest


def rounds_of(width: int) -> int:
    """The rounds of random signs and a Hadamard matrix that a block takes.

    After two a vector with a few equal numbers is not mixed enough in a narrow block: the mean of one-bit EDEN is then
    off by 8 % with 128 numbers, 1 % with 1024, .3 % with 16384; with three by less than 1 % with 128.
    """
    return 2 if width >= 4096 else ROUNDS


def sign_bits(seeds: NDArray[np.uint32], count: int) -> NDArray[np.uint8]:
    """Return the random signs of all rounds, a bit each, [K, ROUNDS, count / 8]; ``count`` is a multiple of 64."""
    drawn = words(seeds, ROUNDS * count // 64).astype("<u8", copy=False)
    return drawn.view(np.uint8).reshape(len(seeds), ROUNDS, count // 8)


def rotate(x: NDArray[np.float32], signs: NDArray[np.uint8]) -> None:
    """Rotate blocks [M, width] in place: … H D_2 H D_1, with the Hadamard matrix H and signs D [ROUNDS, M, width / 8].

    The result is sqrt(2) shorter where rounds and log2(width) are odd, so that no factor is rounded; ``rotate_back``
    makes up for it.
    """
    rounds, log = rounds_of(x.shape[1]), x.shape[1].bit_length() - 1
    for rows in _chunks(x):
        part = x[rows]
        for k in range(rounds):
            _flip(part, signs[k, rows])
            part = _hadamard(part, 2.0 ** -((rounds * log + 1) // 2) if k == rounds - 1 else 1.0)
        x[rows] = part


def rotate_back(y: NDArray[np.float32], signs: NDArray[np.uint8]) -> None:
    """Undo ``rotate`` in place: D_1 H D_2 H …, as H is its own inverse."""
    rounds, log = rounds_of(y.shape[1]), y.shape[1].bit_length() - 1
    for rows in _chunks(y):
        part = y[rows]
        for k in reversed(range(rounds)):
            part = _hadamard(part, 2.0 ** -(rounds * log // 2) if k == 0 else 1.0)
            _flip(part, signs[k, rows])
        y[rows] = part


def _chunks(x: NDArray[np.float32]) -> list[slice]:
    step = max(1, CHUNK // x.shape[1])
    return [slice(start, start + step) for start in range(0, len(x), step)]


def _flip(x: NDArray[np.float32], bits: NDArray[np.uint8]) -> None:
    flipped = x.view(np.uint32)
    flipped ^= np.left_shift(np.unpackbits(bits, axis=1), 31, dtype=np.uint32)


def _hadamard(x: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Multiply blocks [M, width] by ``factor`` times the matrix of 1 and -1, H_a ⊗ H_b ⊗ H_c with a b c = width.

    The factor is a power of two, so that all products are exact, and a block is multiplied in pieces whose shapes are
    those of the block alone: its bits do not depend on the number of blocks.
    """
    count, width = x.shape
    a, b, c = (_matrix((width.bit_length() + 1 - k) // 3) for k in range(3))
    y = np.matmul(a, x.reshape(count, len(a), -1))
    y = np.matmul(b, y.reshape(-1, len(b), len(c)))
    return np.matmul(y.reshape(count, -1, len(c)), c * np.float32(factor)).reshape(count, width)


@cache
def _matrix(log: int) -> NDArray[np.float32]:
    """The Hadamard matrix of Sylvester, of 1 and -1, [2^log, 2^log]."""
    matrix = np.ones((1, 1), np.float32)
    for _ in range(log):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.ascontiguousarray(matrix)
