"""STC: the largest numbers as one magnitude and their signs, and where they are. Sparse ternary compression.

    Sattler, Wiedemann, Müller, Samek. Robust and communication-efficient federated learning from non-i.i.d. data. IEEE
    TNNLS 2020, arXiv:1903.02891

Few numbers of one magnitude: with a memory, what is left out arrives in later rounds.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import check_vector
from fedmtl.codecs.checks import check_most
from fedmtl.codecs.entropy import choice_bits, entropy_bits, ones
from fedmtl.codecs.largest import check_keep, kept_of, largest
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.rice import Rice
from fedmtl.codecs.traits import CodecTraits

HEAD = 8
"""Bytes of the mean and of the number of indices."""


@dataclass(frozen=True)
class STC:
    """The k = max(1, ceil(keep · n)) numbers of largest magnitude become ±μ, the others 0; of equals, the first ones.

        μ  = mean of |x_i| over the numbers that are kept, one float32           (1)
        x' = μ sign(x_i) where x_i is kept, else 0                               (2)

    Numbers that are 0 are not kept, so a vector with fewer than k others is sent with those alone. The mean is the best
    magnitude: ‖x' - x‖² = ‖x‖² - k μ². On a Gaussian vector with a fraction p kept, E[|x|; |x| > t] = 2 φ(t) with
    P(|x| > t) = p, so the NMSE is 1 - 4 φ(t)² / p: .9164 at 1 %. Biased: use it inside ``ErrorFeedback``.

    Bytes: 4 of μ, 4 of k as it is in this packet, ceil(k / 8) of signs in order of the index (1 is negative), and the
    indices in ``Rice``'s code, whose length depends on which are kept: 1 and 8.108 bits each at 1 %, .0911 a number.
    """

    keep: float = 0.01
    """The fraction of the numbers that is sent."""

    traits = CodecTraits(delta_only=True, contractive=True, max_bytes=True, typical_bytes=True, ideal_bits=True)

    def __post_init__(self) -> None:
        check_keep(self, self.keep)

    def init(self, layout: Layout | int) -> None:
        return None

    def max_bytes(self, size: int) -> int:
        k = kept_of(self.keep, size)
        return HEAD + math.ceil(k / 8) + Rice(k, size).most_bytes()

    def typical_bytes(self, size: int) -> float:
        k = kept_of(self.keep, size)
        return HEAD + math.ceil(k / 8) + Rice(k, size).typical_bytes()

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        check_vector(self, x)
        magnitude, k = np.abs(x), kept_of(self.keep, x.size)
        index = largest(magnitude, k)
        index = index[magnitude[index] > 0]
        mean = magnitude[index].mean(dtype=np.float64) if index.size else 0.0  # (1)
        head = np.array([mean], "<f4").tobytes() + np.array([index.size], "<u4").tobytes()
        return head + np.packbits(x[index] < 0).tobytes() + Rice(k, x.size).encode(index), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        mean, k = self._head(data, size)
        most = kept_of(self.keep, size)
        split = HEAD + math.ceil(k / 8)
        packed = np.frombuffer(data, np.uint8)
        x = np.zeros(size, np.float32)
        negative = np.unpackbits(packed[HEAD:split], count=k).astype(bool)
        for which, index in Rice(most, size).decode(self, packed[split:], k):
            x[index] = np.where(negative[which], -mean, mean)  # (2)
        return x

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """μ and k, log2 C(n, k) of the places, and k H of the signs."""
        found = np.empty(len(data))
        for row, packet in enumerate(data):
            _, k = self._head(packet.data, size)
            negative = ones(packet[HEAD : HEAD + math.ceil(k / 8)])
            signs = entropy_bits(np.array([k - negative, negative]).clip(0))
            found[row] = 8 * HEAD + choice_bits(size, k) + signs
        return found

    def _head(self, data: bytes | memoryview, size: int) -> tuple[np.float32, int]:
        """Return μ, and how many numbers are kept."""
        check_most(self, len(data), size, HEAD, self.max_bytes(max(size, 1)))
        most = kept_of(self.keep, size)
        mean, k = np.frombuffer(data, "<f4", 1)[0], int(np.frombuffer(data, "<u4", 1, 4)[0])
        if k > most or not 0 <= mean < np.inf:  # true for NaN
            raise ValueError(
                f"{self!r} makes a finite magnitude for at most {most} of {size} numbers, got {mean:g} for {k}; "
                "the packet is damaged or forged: reject the reply."
            )
        return mean, k
