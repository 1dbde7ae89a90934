"""FP16: half the bits of each number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one
from fedmtl.codecs.checks import check_decoded, check_length
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits

BLOCK = 256
"""Numbers that share an exponent."""
CHUNK = 2**8 * BLOCK
"""Numbers of a vector that a receiver works on at a time, so that it needs little memory beside the vector."""
TOP = 65504 / 65536
"""The largest number of binary16, in parts of the next power of two."""
LEAST, MOST = -126, 113
"""Exponents: below the first a factor would be no normal float32; the last is that of the largest float32."""
LARGEST = np.float32(2**15 - 2**4)
"""The number in place of those near the largest float32, 2^128 being none."""


@dataclass(frozen=True)
class FP16:
    """IEEE 754 binary16 after a shared power of two, little-endian, rounded to nearest, ties to even.

    For each block of 256 numbers (the last may be shorter):

        e = the least e >= -126 with 2^-e max |x| <= 65504     one int8 a block; 0 for a block of zeros          (1)
        h = binary16(2^-e x)                                                                                     (2)
        x' = 2^e h                                             what is decoded                                   (3)

    Bytes: 2n + ceil(n / 256). Error of a number x: at most 2^-11 |x|, and at most 2^-39 of the block's largest where
    |x| is less than 2^-28 of that. So neither small nor large updates are lost, and as (1) is a power of two, a number
    from 2^-14 to 65504 is decoded as its plain cast to binary16. The rounding is not random, so the codec is biased;
    the bias is that small.

    Within a binade [2^e, 2^(e+1)) numbers are 2^(e-10) apart, so a smooth density has the mean squared
    error E[2^2e] 2^-20 / 12: an NMSE of 4.3e-8 on Gaussian vectors, 64 times less than bf16, whose
    numbers are 2^(e-7) apart.

    The exponents travel first, then the numbers.
    """

    traits = CodecTraits(contractive=True, codes_rows=True, fixed_bytes=True)

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return 2 * size + -(-size // BLOCK)

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        size = x.shape[1]
        largest = np.maximum.reduceat(np.abs(x), np.arange(0, size, BLOCK), axis=1)
        part, power = np.frexp(largest)
        exponent = np.where(largest > 0, (power - 16 + (part > TOP)).clip(LEAST, MOST), 0)  # (1)
        scaled = x * _spread(np.ldexp(np.float32(1), -exponent), size)
        if (exponent == MOST).any():
            np.copyto(scaled, scaled.clip(-LARGEST, LARGEST), where=_spread(exponent == MOST, size))
        halves = scaled.astype("<f2").view(np.uint8)  # (2)
        return np.concatenate([exponent.astype(np.int8).view(np.uint8), halves], axis=1), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        x = self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]
        check_decoded(self, x)
        return x

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        blocks = -(-size // BLOCK)
        check_length(self, data.shape[1], size, self.num_bytes(size))
        exponent = data[:, :blocks].view(np.int8).astype(np.int32)
        if exponent.min() < LEAST or exponent.max() > MOST:
            raise ValueError(
                f"{self!r} makes exponents from {LEAST} to {MOST}, got {exponent.min()} to {exponent.max()}; "
                "the packet is damaged or forged: reject the reply."
            )
        factor, halves, x = np.ldexp(np.float32(1), exponent), data[:, blocks:], np.empty((len(data), size), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are the caller's to refuse
            for start in range(0, size, CHUNK):
                end = min(start + CHUNK, size)
                some = np.ascontiguousarray(halves[:, 2 * start : 2 * end]).view("<f2")
                own = _spread(factor[:, start // BLOCK : -(-end // BLOCK)], end - start)
                np.multiply(some, own, out=x[:, start:end], dtype=np.float32)  # (3)
        return x


def _spread(of_blocks: NDArray[Any], size: int) -> NDArray[Any]:
    return np.repeat(of_blocks, min(BLOCK, size), axis=1)[:, :size]
