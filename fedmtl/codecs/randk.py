"""RandK: numbers at random places, which the receiver draws again from a seed.

    Konečný, McMahan, Yu, Richtárik, Suresh, Bacon. Federated learning: strategies for improving communication
    efficiency. 2016, arXiv:1610.05492, section 3 (random mask)

Places need no bytes, as they follow from the seed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one
from fedmtl.codecs.checks import check_decoded, check_length
from fedmtl.codecs.largest import check_keep, kept_of
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits
from fedmtl.core.random import words

SEED = 4
"""Bytes of the seed."""


@dataclass(frozen=True)
class RandK:
    """k = max(1, ceil(keep · n)) numbers at places drawn without replacement, enlarged so that the mean is right.

        x'_i = (n / k) x_i where i is drawn, else 0                               (1)

    Each place is drawn with probability k / n, so E[x'] = x, and E‖x' - x‖² = Σ x_i² (n / k - 1): the NMSE is n / k - 1
    whatever x is, 19 at 5 %. It pays where many clients are averaged, or their masks have to be known beforehand.

    The places are those of the k least of n random 32-bit words of the seed; of equal words, the first places. Bytes:
    4 of the seed and 4 k, the numbers in order of their place, little-endian float32. A number that (1) makes larger
    than float32 becomes the largest.
    """

    keep: float = 0.05
    """The fraction of the numbers that is sent."""

    traits = CodecTraits(unbiased=True, delta_only=True, codes_rows=True, fixed_bytes=True)

    def __post_init__(self) -> None:
        check_keep(self, self.keep)

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return SEED + 4 * kept_of(self.keep, size)

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        count, size = x.shape
        k = kept_of(self.keep, size)
        seeds = np.array([rng_for(row).integers(2**32, dtype=np.uint32) for row in range(count)], np.uint32)
        found = np.empty((count, 1 + k), "<u4")
        found[:, 0] = seeds
        for row in range(count):
            found[row, 1:] = x[row][drawn(seeds[row], size, k)].astype("<f4").view("<u4")
        return found.view(np.uint8), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(max(size, 1)))
        k, largest = kept_of(self.keep, size), np.finfo(np.float32).max
        seeds = np.ascontiguousarray(data[:, :SEED]).view("<u4")[:, 0].astype(np.uint32)
        values = np.ascontiguousarray(data[:, SEED:]).view("<f4").astype(np.float32, copy=False)
        check_decoded(self, values)
        places = [drawn(seed, size, k) for seed in seeds]  # before x, as its words take as much memory
        x = np.zeros((len(data), size), np.float32)
        for row, own, kept in zip(x, places, values, strict=True):
            row[own] = kept
        with np.errstate(over="ignore"):
            x *= np.float32(size / k)  # (1)
        return np.clip(x, -largest, largest, out=x)


def drawn(seed: np.uint32, size: int, k: int) -> NDArray[np.bool_]:
    """Mark k of ``size`` places: those of the least words of the seed; of equal words, the first."""
    word = words(np.array([seed], np.uint32), -(-size // 2)).astype("<u8", copy=False).view("<u4")[0, :size]
    middle, beside = k / size * 2.0**32, 8 * np.sqrt(k) / size * 2.0**32  # of the k-th least word, 8 deviations
    taken, around = word < middle - beside, word <= middle + beside
    around ^= taken
    near = np.flatnonzero(around)
    left = k - np.count_nonzero(taken)
    if not 0 <= left <= near.size:  # an odd seed
        taken, near, left = np.zeros(size, bool), np.arange(size), k
    taken[near[np.argsort(word[near], kind="stable")[:left]]] = True
    return taken
