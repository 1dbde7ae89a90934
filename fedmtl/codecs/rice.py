"""Rice's form of the code of Golomb for which k of n numbers are sent: a gap costs a few bits more than its entropy.

Golomb. Run-length encodings. IEEE Trans. Information Theory 1966, doi:10.1109/TIT.1966.1053907
Rice. Some practical universal noiseless coding techniques. JPL Publication 79-22, 1979
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = (math.sqrt(5) - 1) / 2


class Rice:
    """The code of k rising indices below n, with the parameter of Sattler et al. for a fraction p = k / n:

        b = max(0, 1 + floor(log2(ln(GOLDEN) / ln(1 - p))))                                       (1)

    A gap g (zeros between two indices, or before the first) is split:

        low      b bits: the lower bits of g, the least first                                     (2)
        high     floor(g / 2^b) zeros and a one                                                   (3)

    All low parts come first, then all high parts, each filled up with zeros to a byte. Of a random choice a gap costs

        b + 1 / (1 - (1 - p)^(2^b)) bits:  8.108 at p = 1 % (entropy 8.079), 5.786 at 5 % (5.727).     (4)
    """

    def __init__(self, k: int, n: int) -> None:
        self.k, self.n = k, n
        self.low = 0 if k == n else max(0, 1 + math.floor(math.log2(math.log(GOLDEN) / math.log1p(-k / n))))  # (1)

    def low_bytes(self, k: int) -> int:
        """Bytes of the low parts of k gaps."""
        return math.ceil(k * self.low / 8)

    def most_bytes(self) -> int:
        """The most bytes of k or fewer indices: the gaps add up to n - k at most."""
        return self.low_bytes(self.k) + math.ceil((self.k + (self.n - self.k >> self.low)) / 8)

    def typical_bytes(self) -> float:
        """The mean bytes of all choices of k: a gap is at least m in C(n - m, k) of C(n, k)."""
        n, k, step = self.n, self.k, 1 << self.low
        m = np.arange(step, n - k + 1, step)[:4096]  # beyond that, none is left: (1) halves them with every step
        at_least = [math.lgamma(n - i + 1) - math.lgamma(n - i - k + 1) for i in m]
        zeros = k * sum(math.exp(one - math.lgamma(n + 1) + math.lgamma(n - k + 1)) for one in at_least)
        return min(self.low_bytes(k) + (k + zeros + 3.5) / 8, self.most_bytes())  # 3.5 bits to a whole byte, mostly

    def encode(self, index: NDArray[np.int64]) -> bytes:
        """Return the code of rising indices, k or fewer."""
        gaps = np.diff(index, prepend=-1) - 1
        ends = np.cumsum((gaps >> self.low) + 1)
        high = np.zeros(ends[-1] if ends.size else 0, np.uint8)
        high[ends - 1] = 1  # (3)
        low = (gaps[:, None] >> np.arange(self.low)) & 1  # (2)
        return np.packbits(low.astype(np.uint8)).tobytes() + np.packbits(high).tobytes()

    def decode(self, codec: Any, data: NDArray[np.uint8], k: int) -> NDArray[np.int64]:
        """Return the k indices of a code.

        Raises:
            ValueError: bytes that ``encode`` makes of no k indices below n; it names ``codec``.
        """
        split = self.low_bytes(k)
        if data.size < split:
            raise ValueError(
                f"{codec!r} writes {split} bytes of {k} indices and more, got {data.size}; "
                "the packet is damaged or forged: reject the reply."
            )
        low, high = np.unpackbits(data[:split]), np.unpackbits(data[split:])
        ends = np.flatnonzero(high)
        left = high.size - (int(ends[-1]) + 1 if ends.size else 0)
        if ends.size != k or left > 7 or low[k * self.low :].any():
            raise ValueError(
                f"{codec!r} marks {k} indices and ends in less than a byte of zeros, got {ends.size} or another end; "
                "the packet is damaged or forged: reject the reply."
            )
        lower = np.zeros(k, np.int64)
        for bit in range(self.low):  # a product with powers of two would take 8 bytes a bit
            lower |= low[bit : k * self.low : self.low].astype(np.int64) << bit
        index = np.cumsum(((np.diff(ends, prepend=-1) - 1) << self.low) + lower + 1) - 1
        if k and index[-1] >= self.n:
            raise ValueError(
                f"{codec!r} writes rising indices below {self.n}, got others, up to {index[-1]}; "
                "the packet is damaged or forged: reject the reply."
            )
        return index
