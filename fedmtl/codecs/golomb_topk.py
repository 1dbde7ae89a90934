"""GolombTopK: the largest numbers, with the shortest code of where they are.

    Sattler, Wiedemann, Müller, Samek. Robust and communication-efficient federated learning from non-i.i.d. data. IEEE
    TNNLS 2020, arXiv:1903.02891

What ``TopK`` sends, a little shorter, where packets may be of any length.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import check_vector
from fedmtl.codecs.checks import check_decoded, check_most
from fedmtl.codecs.entropy import choice_bits
from fedmtl.codecs.largest import check_keep, kept_of, largest
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.rice import Rice
from fedmtl.codecs.traits import CodecTraits


@dataclass(frozen=True)
class GolombTopK:
    """The numbers of ``TopK``, bit for bit, with their indices in ``Rice``'s form of Golomb's code (section III-C).

    Bytes: 4 k of little-endian float32 in order of their index, then the indices. A number costs p (32 + H₂(p) / p)
    bits, to a few thousandths: .401 at 1 % (entropy .4008), where ``TopK`` has .4056. The packet's length depends on
    which numbers are kept, where that of ``TopK`` does not: two machines whose floats differ by rounding send packets
    of other lengths. Biased: use it inside ``ErrorFeedback``.
    """

    keep: float = 0.05
    """The fraction of the numbers that is sent."""

    traits = CodecTraits(delta_only=True, contractive=True, max_bytes=True, typical_bytes=True, ideal_bits=True)

    def __post_init__(self) -> None:
        check_keep(self, self.keep)

    def init(self, layout: Layout | int) -> None:
        return None

    def max_bytes(self, size: int) -> int:
        k = kept_of(self.keep, size)
        return 4 * k + Rice(k, size).most_bytes()

    def typical_bytes(self, size: int) -> float:
        k = kept_of(self.keep, size)
        return 4 * k + Rice(k, size).typical_bytes()

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        check_vector(self, x)
        k = kept_of(self.keep, x.size)
        index = largest(np.abs(x), k)
        return x[index].astype("<f4").tobytes() + Rice(k, x.size).encode(index), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        k = kept_of(self.keep, max(size, 1))
        check_most(self, len(data), size, 4 * k, self.max_bytes(max(size, 1)))
        values = np.frombuffer(data, "<f4", k)
        check_decoded(self, values)
        x = np.zeros(size, np.float32)
        for which, index in Rice(k, size).decode(self, np.frombuffer(data, np.uint8, offset=4 * k), k):
            x[index] = values[which]
        return x

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """The numbers, and log2 C(n, k) of their places."""
        k = kept_of(self.keep, max(size, 1))
        check_most(self, data.shape[1], size, 4 * k, self.max_bytes(max(size, 1)))
        return np.full(len(data), 32 * k + choice_bits(size, k))
