"""Int4: two numbers a byte, one scale a block, rounded at random so that the mean is right.

    The blocks: Dettmers, Lewis, Shleifer, Zettlemoyer. 8-bit optimizers via block-wise quantization. ICLR 2022,
    arXiv:2110.02861

Between Int8 and one bit: as unbiased, for updates that many clients average.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one
from fedmtl.codecs.blocks import BlockLevels, BlockScales, check_block
from fedmtl.codecs.checks import check_length, check_padding
from fedmtl.codecs.entropy import byte_counts, entropy_bits
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits

LEVELS = 7


@dataclass(frozen=True)
class Int4:
    """Block-wise absolute maximum, stochastic rounding to 4 bits. Bytes: 4 ceil(n / block) + ceil(n / 2).

    ``Int8`` with s = max |x| / 7, so whole numbers q from -7 to 7. Unbiased; an error is less than s; (4) of ``Int8``
    gives an NMSE of (1 - 1/block) E[max²] / (6 · 7² E[x²]): 3.2e-2 for Gaussian numbers and blocks of 256.

    The scales travel first, as little-endian float32, then two q a byte, as two's complement, the first one in the
    lower half.
    """

    block: int = 256
    """Numbers that share a scale: smaller blocks are more precise and cost 32 / block bits a number."""

    traits = CodecTraits(unbiased=True, delta_only=True, codes_rows=True, fixed_bytes=True, ideal_bits=True)

    def __post_init__(self) -> None:
        check_block("Int4", self.block)

    @property
    def _levels(self) -> BlockLevels:
        return BlockLevels(BlockScales(self.block, LEVELS))

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return self._levels.blocks.num_bytes(size) + (size + 1) // 2

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        scales, q = self._levels.encode(x, rng_for)
        halves = q.view(np.uint8)
        packed = halves[:, ::2] & np.uint8(15)
        packed[:, : x.shape[1] // 2] |= halves[:, 1::2] << np.uint8(4)
        return np.concatenate([scales, packed], axis=1), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(size))
        head = self._levels.blocks.num_bytes(size)
        packed = data[:, head:].view(np.int8)
        if size % 2:
            check_padding(self, packed[:, -1] >> 4)
        q = np.empty((len(data), size), np.int8)
        q[:, ::2] = (packed << 4) >> 4  # the sign of the lower half comes with it
        q[:, 1::2] = packed[:, : size // 2] >> 4
        return self._levels.decode(self, data[:, :head], q)

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """Scales, and n H of the levels q."""
        check_length(self, data.shape[1], size, self.num_bytes(size))
        head = self._levels.blocks.num_bytes(size)
        pairs = byte_counts(data[:, head:]).reshape(-1, 16, 16)
        counts = pairs.sum(1) + pairs.sum(2)  # of lower halves, and of upper ones
        counts[:, 0] -= size % 2  # the padding
        return 8 * head + entropy_bits(counts)
