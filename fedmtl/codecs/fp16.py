"""FP16: half the bits of each number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import check_vector
from fedmtl.codecs.checks import check_decoded, check_length

LARGEST = 65504.0
"""The largest number of binary16, (2 - 2^-10) 2^15."""


@dataclass(frozen=True)
class FP16:
    """IEEE 754 binary16, little-endian, rounded to nearest, ties to even. Bytes: 2n.

    Error of a number x: at most 2^-11 |x|, and at most 2^-25 where |x| < 2^-14 (below 2^-25 it becomes 0).
    The rounding is not random, so the codec is biased; the bias is that small.

    Within a binade [2^e, 2^(e+1)) numbers are 2^(e-10) apart, so a smooth density has the mean squared
    error E[2^2e] 2^-20 / 12: an NMSE of 4.3e-8 on Gaussian vectors, 64 times less than bf16, whose
    numbers are 2^(e-7) apart.
    """

    unbiased: ClassVar[bool] = False

    def init(self, size: int) -> None:
        return None

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        """As in ``Codec``.

        Raises:
            ValueError: moreover, a number beyond ±65504, which the cast would turn into infinity.
        """
        check_vector(self, x)
        return self.encode_rows(x[None], lambda _: rng).tobytes(), None

    def encode_rows(self, x: NDArray[np.float32], chance: Callable[[int], np.random.Generator]) -> NDArray[np.uint8]:
        largest = max(float(x.max()), -float(x.min()))
        if largest > LARGEST:
            raise ValueError(
                f"{self!r} holds numbers up to ±{LARGEST:g}, got {largest:g}; lower the learning rate or use Dense()."
            )
        return x.astype("<f2").view(np.uint8)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        x = self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]
        check_decoded(self, x)
        return x

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, 2 * size)
        return data.view("<f2").astype(np.float32)
