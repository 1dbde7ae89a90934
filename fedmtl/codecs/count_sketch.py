"""CountSketch: signed sums of numbers that fall into the same bucket, in a few tables.

    Charikar, Chen, Farach-Colton. Finding frequent items in data streams. ICALP 2002, doi:10.1007/3-540-45465-9_59
    Rothchild, Panda, Ullah, Ivkin, Stoica, Braverman, Gonzalez, Arora. FetchSGD. ICML 2020, arXiv:2007.07682

Which numbers are large need not be known when a sketch is made, and sketches of one seed can be added.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one
from fedmtl.codecs.checks import check_decoded, check_length
from fedmtl.codecs.largest import check_keep
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits
from fedmtl.core.random import words

SEED = 4
"""Bytes of the seed."""
CHUNK = 2**14
"""Numbers that are worked on at a time, so that they stay in a core's cache."""
MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class CountSketch:
    """Tables t of w = max(1, ceil(keep · n / tables)) buckets each, with signs g and buckets h from a seed.

        T_t[b] = Σ_(i: h_t(i) = b) g_t(i) x_i                                       (1)
        x'_i   = median over t of g_t(i) T_t[h_t(i)]        what is decoded         (2)

    The vector is cut into blocks of w numbers, and a table shifts each block by a random number of places, all round:
    h_t(i) = (i + shift_t(block of i)) mod w. So no two numbers of a block meet, any two of different blocks do with
    probability 1 / w, and no hash is computed for a number alone. Signs are a random bit a number and table.

    Unbiased: what a number meets has a random sign. With one table the squared error of x'_i is the sum of the squares
    that it meets,

        E‖x' - x‖² = Σ_j x_j² (n - |block of j|) / w,       about n / w - 1 of ‖x‖²        (3)

    as that of ``RandK`` with as many bytes. The median of three or five is for vectors with few large numbers: it
    leaves out a table where one of them was met. On Gaussian vectors it has .449 or .287 of one table's variance, and a
    table of a third, or a fifth, of the buckets.

    Bytes: 4 of the seed and 4 w a table, little-endian float32. A sum beyond float32 becomes the largest.
    """

    keep: float = 0.05
    """The buckets of all tables, as a fraction of the numbers."""
    tables: int = 3
    """1, 3 or 5."""

    traits = CodecTraits(unbiased=True, delta_only=True, spreads=True, codes_rows=True, fixed_bytes=True)

    def __post_init__(self) -> None:
        check_keep(self, self.keep)
        if isinstance(self.tables, bool) or self.tables not in (1, 3, 5):
            raise ValueError(f"CountSketch takes 1, 3 or 5 tables, whose median is one of them, got {self.tables!r}.")

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return SEED + 4 * self.tables * self._buckets(size)

    def _buckets(self, size: int) -> int:
        return max(1, math.ceil(round(self.keep * size, 6) / self.tables))

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        count, size = x.shape
        sums = np.zeros((count, self.tables, self._buckets(size)), np.float32)
        seeds = np.array([rng_for(row).integers(2**32, dtype=np.uint32) for row in range(count)], np.uint32)
        for row, seed, own in zip(x, seeds, sums, strict=True):
            hashes = Hashes(seed, self.tables, sums.shape[2], size)
            with np.errstate(over="ignore", invalid="ignore"):
                for table, buckets in enumerate(own):
                    for block, piece in hashes.pieces():
                        signed = _flipped(row[piece], hashes.signs(table, piece))
                        for numbers, into in hashes.places(table, block, piece):
                            buckets[into] += signed[numbers]  # (1)
        np.nan_to_num(sums, copy=False, posinf=MOST, neginf=-MOST)
        head = seeds.astype("<u4")[:, None].view(np.uint8)
        return np.concatenate([head, sums.reshape(count, -1).astype("<f4", copy=False).view(np.uint8)], axis=1), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        x = self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]
        check_decoded(self, x)
        return x

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(max(size, 1)))
        seeds = np.ascontiguousarray(data[:, :SEED]).view("<u4")[:, 0].astype(np.uint32)
        x = np.empty((len(data), size), np.float32)
        for row, seed, own in zip(x, seeds, data, strict=True):
            sums = np.frombuffer(own[SEED:].tobytes(), "<f4").reshape(self.tables, -1)
            hashes = Hashes(seed, self.tables, sums.shape[1], size)
            for block, piece in hashes.pieces():
                found = np.empty((self.tables, piece.stop - piece.start), np.float32)
                for table, estimate in enumerate(found):
                    for numbers, place in hashes.places(table, block, piece):
                        estimate[numbers] = sums[table, place]
                    estimate[:] = _flipped(estimate, hashes.signs(table, piece))
                row[piece] = _median(found)  # (2)
        return x


class Hashes:
    """Shifts and signs of a seed's ``words``: a shift for each block of each table, then the signs, a bit a number."""

    def __init__(self, seed: np.uint32, tables: int, buckets: int, size: int) -> None:
        self.buckets, self.size = buckets, size
        blocks, drawn = -(-size // buckets), -(-size // 64)
        found = words(np.array([seed], np.uint32), tables * (blocks + drawn))[0]
        self.shifts = (found[: tables * blocks] % np.uint64(buckets)).astype(np.int64).reshape(tables, blocks)
        self.bits = found[tables * blocks :].astype("<u8", copy=False).view(np.uint8).reshape(tables, 8 * drawn)

    def pieces(self) -> Iterator[tuple[int, slice]]:
        """Spans of at most ``CHUNK`` numbers, with the block that each is in."""
        for block, start in enumerate(range(0, self.size, self.buckets)):
            end = min(start + self.buckets, self.size)
            for first in range(start, end, CHUNK):
                yield block, slice(first, min(first + CHUNK, end))

    def places(self, table: int, block: int, piece: slice) -> Iterator[tuple[slice, slice]]:
        """Spans of a piece with those of their buckets: two where they go on at the table's beginning."""
        count = piece.stop - piece.start
        start = (piece.start + int(self.shifts[table, block])) % self.buckets
        first = min(count, self.buckets - start)
        yield slice(0, first), slice(start, start + first)
        if first < count:
            yield slice(first, count), slice(0, count - first)

    def signs(self, table: int, piece: slice) -> NDArray[np.uint8]:
        """Bits of the numbers of a piece."""
        before = piece.start % 8
        return np.unpackbits(self.bits[table, piece.start // 8 : -(-piece.stop // 8)])[
            before : before + piece.stop - piece.start
        ]


def _flipped(x: NDArray[np.float32], bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """x, negative where the bit is 1."""
    return (np.ascontiguousarray(x).view(np.uint32) ^ np.left_shift(bits, 31, dtype=np.uint32)).view(np.float32)


def _median(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of an odd number of rows, which are sorted in place, by turns of neighbours."""
    for turn in range(len(x)):
        for low in range(turn % 2, len(x) - 1, 2):
            smaller = np.minimum(x[low], x[low + 1])
            np.maximum(x[low], x[low + 1], out=x[low + 1])
            x[low] = smaller
    return x[len(x) // 2]
