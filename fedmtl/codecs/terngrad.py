"""TernGrad: three levels a number, one scale a block, rounded at random so that the mean is right.

    Wen et al. TernGrad: ternary gradients to reduce communication in distributed deep learning. NeurIPS 2017,
    arXiv:1705.07878

Int8 with one level; an average over many clients takes out the noise.
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

POWERS = (1, 3, 9, 27, 81)
"""Five numbers of three levels are 243 of the 256 values of a byte."""
DIGITS = (np.arange(243)[:, None] // np.array(POWERS) % 3).astype(np.int8)
"""[243, 5]: the digits to base 3 of a byte, the least first."""


@dataclass(frozen=True)
class TernGrad:
    """Signs of some numbers, and zeros: q in {-1, 0, 1}. Bytes: 4 ceil(n / block) + ceil(n / 5).

    Wen et al., NeurIPS 2017, arXiv:1705.07878, without its clipping. For each block of ``block`` numbers:

        s = max |x|,   q = sgn(x) with probability |x| / s, else 0,   x' = s q                  (1)

    which is ``Int8`` with one level. Unbiased, E[x'] = x, with a variance of s |x| - x², so

        NMSE = E[s |x|] / E[x²] - 1                                                        (2)

    1.43 for Gaussian numbers and blocks of 256: more than of the vector itself, so a mean over many clients is what it
    is for. A number costs 8 / 5 bits, where log2 3 = 1.585 would be least for three levels as likely, and 32 / block.

    The scales travel first, as little-endian float32, then five q + 1 a byte, as digits to base 3, the first one the
    least. Every vector of a size takes equal bytes.
    """

    block: int = 256
    """Numbers that share a scale: smaller blocks are more precise and cost 32 / block bits a number."""

    traits = CodecTraits(unbiased=True, delta_only=True, codes_rows=True, fixed_bytes=True, ideal_bits=True)

    def __post_init__(self) -> None:
        check_block("TernGrad", self.block)

    @property
    def _levels(self) -> BlockLevels:
        return BlockLevels(BlockScales(self.block, 1))

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return self._levels.blocks.num_bytes(size) + (size + 4) // 5

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        scales, q = self._levels.encode(x, rng_for)
        digits, packed = (q + 1).view(np.uint8), np.zeros((len(x), (x.shape[1] + 4) // 5), np.uint8)
        for k, power in enumerate(POWERS):
            digit = digits[:, k::5]
            packed[:, : digit.shape[1]] += np.uint8(power) * digit
        return np.concatenate([scales, packed], axis=1), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(size))
        head = self._levels.blocks.num_bytes(size)
        packed = data[:, head:]
        self._check_most(int(packed.max()))
        digits = DIGITS[packed].reshape(len(data), -1)
        check_padding(self, digits[:, size:])
        digits -= 1
        return self._levels.decode(self, data[:, :head], digits[:, :size])

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """Scales, and n H of the levels q."""
        check_length(self, data.shape[1], size, self.num_bytes(size))
        head = self._levels.blocks.num_bytes(size)
        counts = byte_counts(data[:, head:])
        self._check_most(int(np.flatnonzero(counts.any(0))[-1]))
        levels = counts[:, : len(DIGITS)] @ (DIGITS[:, :, None] == np.arange(3)).sum(1)
        levels[:, 0] -= -size % 5  # the padding
        return 8 * head + entropy_bits(levels)

    def _check_most(self, most: int) -> None:
        if most > len(DIGITS) - 1:
            raise ValueError(
                f"{self!r} makes bytes up to 242 of five numbers, got {most}; "
                "the packet is damaged or forged: reject the reply."
            )
