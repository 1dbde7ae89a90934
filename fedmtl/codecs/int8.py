"""Int8: one byte a number, one scale a block, rounded at random so that the mean is right."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one
from fedmtl.codecs.blocks import BlockLevels, BlockScales, check_block
from fedmtl.codecs.checks import check_length
from fedmtl.codecs.entropy import byte_counts, entropy_bits
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits

LEVELS = 127


@dataclass(frozen=True)
class Int8:
    """Block-wise absolute maximum, stochastic rounding to 8 bits. Bytes: n + 4 ceil(n / block).

    For each block of ``block`` numbers (the last may be shorter), and for each number x in it:

        s = max |x| / 127                                   one float32 a block            (1)
        q = floor(x / s) + [u < f],   f = x / s - floor(x / s),   u uniform in [0, 1)      (2)
        x' = s q                                            what is decoded                (3)

    (``blocks.py`` has what is done where s would be no normal float32.) The codec is unbiased: E[q] = x / s. An error
    is less than s, and its variance is s² f (1 - f). A smooth density makes f nearly uniform on [0, 1), where the mean
    of f (1 - f) is 1/2 - 1/3 = 1/6; only the largest number of a block is exact, f = 0. So

        NMSE = (1 - 1/block) E[s²] / (6 E[x²]) = (1 - 1/block) E[max²] / (6 · 127² E[x²]).     (4)

    For Gaussian numbers and blocks of 256, E[max²] = 9.4 E[x²], hence 9.7e-5.

    The scales travel first, as little-endian float32, then the q as int8.
    """

    block: int = 256
    """Numbers that share a scale: smaller blocks are more precise and cost 32 / block bits a number."""

    traits = CodecTraits(unbiased=True, codes_rows=True, fixed_bytes=True, ideal_bits=True)

    def __post_init__(self) -> None:
        check_block("Int8", self.block)

    @property
    def _levels(self) -> BlockLevels:
        return BlockLevels(BlockScales(self.block, LEVELS))

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return self._levels.blocks.num_bytes(size) + size

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        scales, q = self._levels.encode(x, rng_for)
        return np.concatenate([scales, q.view(np.uint8)], axis=1), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(size))
        head = data.shape[1] - size
        return self._levels.decode(self, data[:, :head], data[:, head:].view(np.int8))

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """Scales, and n H of the levels q."""
        check_length(self, data.shape[1], size, self.num_bytes(size))
        head = data.shape[1] - size
        return 8 * head + entropy_bits(byte_counts(data[:, head:]))
