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
CHUNK = 2**17
"""Numbers to transform at a time: few enough to stay near a core, and many enough that calls cost little."""
PIECE = 2**15
"""Signs to write out at a time, four bytes each."""


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


def rotate(x: NDArray[np.float32], signs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return rotated blocks [M, width]: … H D_2 H D_1 x, with the Hadamard matrix H and signs D [ROUNDS, M, width / 8].

    The result is sqrt(2) shorter where rounds and log2(width) are odd, so that no factor is rounded; ``rotate_back``
    makes up for it. ``x`` is used up.
    """
    rounds, log = rounds_of(x.shape[1]), x.shape[1].bit_length() - 1
    spare = np.empty_like(x)
    for k in range(rounds):
        _flip(x, signs[k])
        x, spare = _hadamard(x, spare, 2.0 ** -((rounds * log + 1) // 2) if k == rounds - 1 else 1.0)
    return x


def rotate_back(y: NDArray[np.float32], signs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Undo ``rotate``: D_1 H D_2 H …, as H is its own inverse. ``y`` is used up."""
    rounds, log = rounds_of(y.shape[1]), y.shape[1].bit_length() - 1
    spare = np.empty_like(y)
    for k in reversed(range(rounds)):
        y, spare = _hadamard(y, spare, 2.0 ** -(rounds * log // 2) if k == 0 else 1.0)
        _flip(y, signs[k])
    return y


def _flip(x: NDArray[np.float32], bits: NDArray[np.uint8]) -> None:
    step = max(1, PIECE // x.shape[1])
    for rows in (slice(start, start + step) for start in range(0, len(x), step)):
        flipped = x[rows].view(np.uint32)
        flipped ^= _masks().take(bits[rows], axis=0, mode="clip").reshape(flipped.shape)


@cache
def _masks() -> NDArray[np.uint32]:
    """The sign bits that each byte flips, [256, 8], its highest bit first."""
    return np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) * np.uint32(1 << 31)


def _hadamard(
    x: NDArray[np.float32], spare: NDArray[np.float32], factor: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Multiply blocks [M, width] by ``factor`` times the matrix of 1 and -1, H_a ⊗ H_b ⊗ H_c with a b c = width.

    Each product is with the last axis and makes it the first: so BLAS has one large product a block, and after three
    the axes are in order again. The factor is a power of two, so that all products are exact, and the shapes are those
    of a block alone: its bits do not depend on the number of blocks. Returns the result and the other array, both of
    which are written to.
    """
    count, width = x.shape
    for k in reversed(range(3)):
        matrix = _matrix((width.bit_length() + 1 - k) // 3) * np.float32(1.0 if k else factor)
        last = x.reshape(count, -1, len(matrix)).swapaxes(1, 2)
        np.matmul(matrix, last, out=spare.reshape(last.shape))
        x, spare = spare, x
    return x, spare


@cache
def _matrix(log: int) -> NDArray[np.float32]:
    """The Hadamard matrix of Sylvester, of 1 and -1, [2^log, 2^log]."""
    matrix = np.ones((1, 1), np.float32)
    for _ in range(log):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.ascontiguousarray(matrix)
