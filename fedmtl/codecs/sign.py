"""Sign: one bit a number.

    Karimireddy, Rebjock, Stich, Jaggi. Error feedback fixes SignSGD and other gradient compression schemes. ICML 2019,
    arXiv:1901.09847

One scale and a sign each are the least that is sent of an update, and with a memory they are enough.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one
from fedmtl.codecs.checks import check_length, check_padding
from fedmtl.codecs.entropy import entropy_bits, ones
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits


@dataclass(frozen=True)
class Sign:
    """The mean magnitude with the sign of each number. Bytes: 4 + ceil(n / 8).

    Karimireddy et al., ICML 2019, arXiv:1901.09847 (EF-signSGD).

        x' = (‖x‖₁ / n) sgn(x),   sgn(0) = 1                                               (1)

    Error: ‖x' - x‖² = ‖x‖² - ‖x‖₁² / n, less than ‖x‖² however x is. On Gaussian vectors E|x| = (2/π)^½, so the NMSE
    is 1 - 2/π = 0.363. Biased: use it inside ``ErrorFeedback``. One scale for all numbers: where layers are of unlike
    size, ``PerLayer`` gives each its own.

    The scale travels first, as little-endian float32, then a bit a number, 1 below zero, the first one the highest.
    """

    traits = CodecTraits(delta_only=True, contractive=True, codes_rows=True, fixed_bytes=True, ideal_bits=True)

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return 4 + (size + 7) // 8

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        scale = np.abs(x).mean(axis=1, dtype=np.float64).astype("<f4")
        return np.concatenate([scale[:, None].view(np.uint8), np.packbits(x < 0, axis=1)], axis=1), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(size))
        scale = np.ascontiguousarray(data[:, :4]).view("<f4").astype(np.float32)
        fits = (scale >= 0) & (scale <= np.finfo(np.float32).max)  # false for NaN
        if not fits.all() or np.signbit(scale).any():
            raise ValueError(
                f"{self!r} makes a finite scale of at least 0, got {scale[~fits | np.signbit(scale)][0]:g}; "
                "the packet is damaged or forged: reject the reply."
            )
        if size % 8:
            check_padding(self, data[:, -1] << (size % 8) & 255)
        negative = np.unpackbits(data[:, 4:], axis=1, count=size).view(np.bool_)
        return np.where(negative, -scale, scale)  # (1)

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """The scale, and n H of the signs."""
        check_length(self, data.shape[1], size, self.num_bytes(size))
        negative = ones(data[:, 4:])
        return 32 + entropy_bits(np.stack([size - negative, negative], 1))
