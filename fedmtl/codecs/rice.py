"""Rice's form of the code of Golomb for which k of n numbers are sent: a gap costs a few bits more than its entropy.

Golomb. Run-length encodings. IEEE Trans. Information Theory 1966, doi:10.1109/TIT.1966.1053907
Rice. Some practical universal noiseless coding techniques. JPL Publication 79-22, 1979
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = (math.sqrt(5) - 1) / 2
CHUNK = 2**11
"""Bytes of high parts that are read at a time."""


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

    def decode(self, codec: Any, data: NDArray[np.uint8], k: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Yield the k indices of a code, some at a time, so that little memory is needed: (which of the k, indices).

        Raises:
            ValueError: bytes that ``encode`` makes of no k indices below n; it names ``codec``.
        """
        split, done, end, last = self.low_bytes(k), 0, -1, -1
        if data.size < split:
            raise ValueError(
                f"{codec!r} writes {split} bytes of {k} indices and more, got {data.size}; "
                "the packet is damaged or forged: reject the reply."
            )
        for start in range(split, data.size, CHUNK):
            ends = np.flatnonzero(np.unpackbits(data[start : start + CHUNK])) + 8 * (start - split)
            here = slice(done, done + ends.size)
            if here.stop > k:
                done = here.stop
                break
            index = last + np.cumsum(((np.diff(ends, prepend=end) - 1) << self.low) + self._lower(data, here) + 1)
            if ends.size:
                done, end, last = here.stop, int(ends[-1]), int(index[-1])
            if last >= self.n:
                raise ValueError(
                    f"{codec!r} writes rising indices below {self.n}, got others, up to {last}; "
                    "the packet is damaged or forged: reject the reply."
                )
            yield here, index
        left, used = 8 * (data.size - split) - (end + 1), k * self.low
        if done != k or left > 7 or (used % 8 and data[split - 1] << used % 8 & 255):
            raise ValueError(
                f"{codec!r} marks {k} indices and ends in less than a byte of zeros, got {done} or another end; "
                "the packet is damaged or forged: reject the reply."
            )

    def _lower(self, data: NDArray[np.uint8], here: slice) -> NDArray[np.int64]:
        """The lower bits of some indices."""
        first, end = here.start * self.low, here.stop * self.low
        bits = np.unpackbits(data[first // 8 : -(-end // 8)])[first % 8 :][: end - first]
        lower = np.zeros(here.stop - here.start, np.int64)
        for bit in range(self.low):
            lower |= bits[bit :: self.low].astype(np.int64) << bit
        return lower
