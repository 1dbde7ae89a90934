"""FP8: one byte a number that keeps its own exponent, one scale a block.

    Micikevicius et al. FP8 formats for deep learning. 2022, arXiv:2209.05433

For blocks in which a few numbers are much larger than the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one
from fedmtl.codecs.blocks import BlockScales, check_block
from fedmtl.codecs.casts import to_bytes, values
from fedmtl.codecs.checks import check_decoded, check_length
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits


class Float8(NamedTuple):
    """A float of 8 bits."""

    dtype: str
    """Its name in torch."""
    top: int
    """Its largest number."""


FORMATS = {"e4m3": Float8("float8_e4m3fn", 448), "e5m2": Float8("float8_e5m2", 57344)}


@dataclass(frozen=True)
class FP8:
    """A float of 8 bits after a scale by block, rounded to nearest, ties to even. Bytes: n + 4 ceil(n / block).

    For each block of ``block`` numbers (the last may be shorter):

        s = max |x| / top                    one float32 a block, top = 448 (e4m3) or 57344 (e5m2)     (1)
        h = float8(x / s)                                                                              (2)
        x' = s h                             what is decoded                                           (3)

    (``blocks.py`` has what is done where s would be no normal float32.) Without (1) a small update is lost: the least
    e4m3 is 2^-9. Error of a number: with 3 bits of fraction (e4m3) at most 2^-4 |x|, and at most 2^-10 s below 2^-6 s;
    with 2 (e5m2) at most 2^-3 |x|, and at most 2^-17 s below 2^-14 s. Not random, so biased.

    Within a binade [2^e, 2^(e+1)) numbers are 2^(e-3), or 2^(e-2), apart: an NMSE of 7.0e-4, or 2.8e-3, on Gaussian
    vectors. ``Int8`` has as many bytes and 9.7e-5 there; a float is for blocks in which few numbers are large.

    The scales travel first, as little-endian float32, then a byte a number.
    """

    format: str = "e4m3"
    """``e4m3``, or ``e5m2``, with more range and fewer digits."""
    block: int = 1024
    """Numbers that share a scale: with an exponent of their own they need one more seldom than ``Int8``'s."""

    traits = CodecTraits(contractive=True, codes_rows=True, fixed_bytes=True)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"FP8 has the formats {', '.join(map(repr, FORMATS))}, got format={self.format!r}.")
        check_block("FP8", self.block)

    @property
    def _blocks(self) -> BlockScales:
        return BlockScales(self.block, FORMATS[self.format].top)

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return self._blocks.num_bytes(size) + size

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        blocks, head = self._blocks, self._blocks.num_bytes(x.shape[1])
        out, done = np.empty((len(x), self.num_bytes(x.shape[1])), np.uint8), 0
        for part in blocks.chunks(x.shape[1]):
            scales, level = blocks.divide(x[:, part])  # (1)
            count = 4 * scales.shape[1]
            out[:, done : done + count] = scales.astype("<f4").view(np.uint8)
            out[:, head + part.start : head + part.stop] = to_bytes(level, FORMATS[self.format].dtype)  # (2)
            done += count
        return out, None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        x = self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]
        check_decoded(self, x)
        return x

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(size))
        blocks, head = self._blocks, self._blocks.num_bytes(size)
        scales, table = blocks.read(self, data[:, :head]), values(FORMATS[self.format].dtype)
        x, done = np.empty((len(data), size), np.float32), 0
        for part in blocks.chunks(size):
            count = blocks.count(part.stop - part.start)
            level = table[data[:, head + part.start : head + part.stop]]
            blocks.multiply(scales[:, done : done + count], level, x[:, part])  # (3)
            done += count
        return x
