"""Int8: one byte a number, one scale a block, rounded at random so that the mean is right."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import check_vector
from fedmtl.codecs.checks import check_length
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits

LEVELS = 127
SMALLEST_SCALE = np.finfo(np.float32).tiny
"""The least normal float32, 2^-126: arithmetic that flushes smaller numbers to zero must not divide by zero."""
TINY = np.float32(LEVELS) * SMALLEST_SCALE
"""The largest number of a block whose scale is ``SMALLEST_SCALE``."""
LIFT = np.float32(2.0**100)
"""The factor of a block whose scale would be smaller."""
LIFTED = np.finfo(np.float32).smallest_subnormal * LIFT / np.float32(LEVELS), TINY * LIFT / np.float32(LEVELS)
"""The least and the largest scale of such a block."""
LARGEST_SCALE = np.nextafter(np.finfo(np.float32).max / np.float32(LEVELS), np.float32(0))
"""127 times this is still a float32."""


@dataclass(frozen=True)
class Int8:
    """Block-wise absolute maximum, stochastic rounding to 8 bits. Bytes: n + 4 ceil(n / block).

    For each block of ``block`` numbers (the last may be shorter), and for each number x in it:

        s = max |x| / 127                                   one float32 a block            (1)
            of 2^100 x, and written as -s, where max |x| < 127 · 2^-126: such an s would be no normal float32
        q = floor(x / s) + [u < f],   f = x / s - floor(x / s),   u uniform in [0, 1)      (2)
        x' = s q                                            what is decoded                (3)

    E[q] = x / s (u has 24 bits, so up to 2^-24): the codec is unbiased. An error is less than s, and its
    variance is s² f (1 - f). A smooth density makes f nearly uniform on [0, 1), where the mean of f (1 - f) is
    1/2 - 1/3 = 1/6; only the largest number of a block is exact, f = 0. So

        NMSE = (1 - 1/block) E[s²] / (6 E[x²]) = (1 - 1/block) E[max²] / (6 · 127² E[x²]).     (4)

    For Gaussian numbers and blocks of 256, E[max²] = 9.4 E[x²], hence 9.7e-5.

    The scales travel first, as little-endian float32, then the q as int8.
    """

    block: int = 256
    """Numbers that share a scale: smaller blocks are more precise and cost 32 / block bits a number."""

    traits = CodecTraits(unbiased=True, codes_rows=True, fixed_bytes=True)

    def __post_init__(self) -> None:
        if isinstance(self.block, bool) or not isinstance(self.block, int) or self.block < 1:
            raise ValueError(f"Int8 shares a scale among a whole number of at least 1, got block={self.block!r}.")

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return size + 4 * math.ceil(size / self.block)

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        check_vector(self, x)
        return self.encode_rows(x[None], lambda _: rng).tobytes(), None

    def encode_rows(self, x: NDArray[np.float32], rng_for: Callable[[int], np.random.Generator]) -> NDArray[np.uint8]:
        count, size = x.shape
        largest = np.maximum.reduceat(np.abs(x), np.arange(0, size, self.block), axis=1)
        scales = (largest / np.float32(LEVELS)).clip(SMALLEST_SCALE, LARGEST_SCALE)  # (1)
        small = (largest < TINY) & (largest > 0)
        if small.any():
            level = x * self._spread(np.where(small, LIFT, np.float32(1)), size)
            scales = np.where(small, largest * LIFT / np.float32(LEVELS), scales)
            level /= self._spread(scales, size)
            scales = np.where(small, -scales, scales)
        else:
            level = x / self._spread(scales, size)
        q = np.floor(level)
        level -= q
        for k in range(count):
            q[k] += rng_for(k).random(size, dtype=np.float32) < level[k]  # (2)
        # A scale rounded down puts the largest number a few 2^-24 beyond level 127, and rounding would make it 128.
        levels = np.clip(q, -LEVELS, LEVELS).astype(np.int8)
        return np.concatenate([scales.astype("<f4").view(np.uint8), levels.view(np.uint8)], axis=1)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        blocks = math.ceil(size / self.block)
        check_length(self, data.shape[1], size, self.num_bytes(size))
        scales = np.ascontiguousarray(data[:, : 4 * blocks]).view("<f4").astype(np.float32)
        q = data[:, 4 * blocks :].view(np.int8)
        small = (scales <= -LIFTED[0]) & (scales >= -LIFTED[1])
        fits = small | ((scales >= SMALLEST_SCALE) & (scales <= LARGEST_SCALE))  # false for NaN
        if not fits.all():
            raise ValueError(
                f"{self!r} makes scales from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}, and negative ones from "
                f"{-LIFTED[1]:g} to {-LIFTED[0]:g}, got {scales[~fits][0]:g}; "
                "the packet is damaged or forged: reject the reply."
            )
        if (q < -LEVELS).any():
            raise ValueError(
                f"{self!r} makes levels from -127 to 127, got -128; the packet is damaged or forged: reject the reply."
            )
        x = np.multiply(q, self._spread(np.abs(scales), size), dtype=np.float32)  # (3)
        return np.where(self._spread(small, size), x / LIFT, x) if small.any() else x

    def _spread(self, of_blocks: NDArray[Any], size: int) -> NDArray[Any]:
        return np.repeat(of_blocks, min(self.block, size), axis=1)[:, :size]
