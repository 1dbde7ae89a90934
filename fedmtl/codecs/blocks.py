"""Blocks that share a scale: numbers in parts of their block's largest, and whole levels of it rounded at random."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 2**16
"""Numbers of a vector that are worked on at a time: what lies between then stays in the processor's cache."""
SMALLEST_SCALE = np.finfo(np.float32).tiny
"""The least normal float32, 2^-126: arithmetic that flushes smaller numbers to zero must not divide by zero."""
LIFT = np.float32(2.0**100)
"""The factor of a block whose scale would be smaller."""


@dataclass(frozen=True)
class BlockScales:
    """Scales of blocks of ``block`` numbers, the last of which may be shorter.

        s = max |x| / top                                   one float32 a block            (1)
            of 2^100 x, and written as -s, where max |x| < top · 2^-126: such an s would be no normal float32

    Bytes: 4 ceil(n / block).
    """

    block: int
    top: int
    """The largest number of x / s."""

    @property
    def largest_scale(self) -> np.float32:
        """``top`` times this is still a float32."""
        return np.nextafter(np.finfo(np.float32).max / np.float32(self.top), np.float32(0))

    @property
    def tiny(self) -> np.float32:
        """The largest number of a block whose scale is ``SMALLEST_SCALE``."""
        return np.float32(self.top) * SMALLEST_SCALE

    @property
    def lifted(self) -> tuple[np.float32, np.float32]:
        """The least and the largest scale of a block of smaller numbers."""
        least = np.finfo(np.float32).smallest_subnormal * LIFT / np.float32(self.top)
        return least, self.tiny * LIFT / np.float32(self.top)

    def count(self, size: int) -> int:
        """The number of blocks of a vector."""
        return math.ceil(size / self.block)

    def num_bytes(self, size: int) -> int:
        """The bytes of a vector's scales."""
        return 4 * self.count(size)

    def chunks(self, size: int) -> list[slice]:
        """Whole blocks of about ``CHUNK`` numbers."""
        step = max(1, CHUNK // self.block) * self.block
        return [slice(start, min(start + step, size)) for start in range(0, size, step)]

    def divide(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scales [K, blocks] by (1), and x / s [K, size]."""
        size = x.shape[1]
        largest = np.maximum.reduceat(np.abs(x), np.arange(0, size, self.block), axis=1)
        scales = (largest / np.float32(self.top)).clip(SMALLEST_SCALE, self.largest_scale)
        small = (largest < self.tiny) & (largest > 0)
        if not small.any():
            return scales, x / self._spread(scales, size)
        level = x * self._spread(np.where(small, LIFT, np.float32(1)), size)
        scales = np.where(small, largest * LIFT / np.float32(self.top), scales)
        level /= self._spread(scales, size)
        return np.where(small, -scales, scales), level

    def read(self, codec: Any, data: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scales [K, blocks] of their bytes.

        Raises:
            ValueError: a scale that (1) never makes.
        """
        scales = np.ascontiguousarray(data).view("<f4").astype(np.float32)
        fits = self._small(scales) | ((scales >= SMALLEST_SCALE) & (scales <= self.largest_scale))  # false for NaN
        if not fits.all():
            least, most = self.lifted
            raise ValueError(
                f"{codec!r} makes scales from {SMALLEST_SCALE:g} to {self.largest_scale:g}, and negative ones from "
                f"{-most:g} to {-least:g}, got {scales[~fits][0]:g}; "
                "the packet is damaged or forged: reject the reply."
            )
        return scales

    def multiply(self, scales: NDArray[np.float32], level: NDArray[Any], into: NDArray[np.float32]) -> None:
        """Write x = s · level, [K, size]."""
        size = level.shape[1]
        np.multiply(level, self._spread(np.abs(scales), size), out=into, dtype=np.float32)
        small = self._small(scales)
        if small.any():
            np.divide(into, LIFT, out=into, where=self._spread(small, size))

    def _small(self, scales: NDArray[np.float32]) -> NDArray[np.bool_]:
        least, most = self.lifted
        return (scales <= -least) & (scales >= -most)

    def _spread(self, of_blocks: NDArray[Any], size: int) -> Any:
        return np.repeat(of_blocks, min(self.block, size), axis=1)[:, :size]


@dataclass(frozen=True)
class BlockLevels:
    """Whole numbers from -top to top in place of x / s, rounded at random so that the mean is right.

        q = floor(x / s) + [u < f],   f = x / s - floor(x / s),   u uniform in [0, 1)      (2)
        x' = s q                                            what is decoded                (3)

    E[q] = x / s (u has 24 bits, so up to 2^-24): unbiased. An error is less than s, and its variance is s² f (1 - f).
    """

    blocks: BlockScales

    def encode(
        self, x: NDArray[np.float32], rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """Return the bytes of the scales [K, 4 blocks], and q [K, size]."""
        count, size = x.shape
        scales, q = np.empty((count, self.blocks.count(size)), "<f4"), np.empty((count, size), np.int8)
        generators, done, top = [rng_for(k) for k in range(count)], 0, self.blocks.top
        for part in self.blocks.chunks(size):
            some, level = self.blocks.divide(x[:, part])
            scales[:, done : done + some.shape[1]] = some
            done += some.shape[1]
            rounded = np.floor(level)
            level -= rounded
            for row, f, generator in zip(rounded, level, generators, strict=True):
                row += generator.random(f.size, dtype=np.float32) < f  # (2)
            # A scale rounded down puts the largest number a few 2^-24 beyond the top, and rounding would go beyond it.
            q[:, part] = np.clip(rounded, -top, top, out=rounded)
        return scales.view(np.uint8), q

    def decode(self, codec: Any, scales: NDArray[np.uint8], q: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return x' [K, size] by (3).

        Raises:
            ValueError: scales or levels that no sender makes.
        """
        read, top = self.blocks.read(codec, scales), self.blocks.top
        if q.min() < -top or q.max() > top:
            raise ValueError(
                f"{codec!r} makes levels from {-top} to {top}, got {q.min() if q.min() < -top else q.max()}; "
                "the packet is damaged or forged: reject the reply."
            )
        x, done = np.empty(q.shape, np.float32), 0
        for part in self.blocks.chunks(q.shape[1]):
            count = self.blocks.count(part.stop - part.start)
            self.blocks.multiply(read[:, done : done + count], q[:, part], x[:, part])
            done += count
        return x


def check_block(codec: str, block: Any) -> None:
    """Refuse a block that is not a whole number of at least 1.

    Raises:
        ValueError: it names the value.
    """
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise ValueError(f"{codec} shares a scale among a whole number of at least 1, got block={block!r}.")
