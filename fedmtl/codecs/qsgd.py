"""QSGD: whole parts of the norm, rounded at random, in a code in which small ones are short.

    Alistarh, Grubic, Li, Tomioka, Vojnovic. QSGD: communication-efficient SGD via gradient quantization and encoding.
    NeurIPS 2017, arXiv:1610.02132

Most numbers of an update become 0, and a gap says how many.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs import elias
from fedmtl.codecs.base import check_vector
from fedmtl.codecs.checks import check_length
from fedmtl.codecs.entropy import entropy_bits, popcount
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits

CHUNK = 2**14
"""Numbers that are coded at a time, so that a receiver needs little memory beside the vector."""
HEAD = np.dtype([("count", "<u4"), ("bytes", "<u4")])
"""Before each chunk: its numbers that are not 0, and the bytes of their code."""
MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class QSGD:
    """Stochastic levels of ‖x‖ / s, gaps and levels in Elias's gamma code.

    Alistarh et al., NeurIPS 2017, arXiv:1610.02132.

        a = s |x| / ‖x‖₂,   q = floor(a) + [u < f],   f = a - floor(a),   u uniform in [0, 1)     (1)
        x' = (‖x‖₂ / s) sgn(x) q                               what is decoded                    (2)

    Unbiased. Its squared error is ‖x‖² Σ f (1 - f) / s² on average, at most ‖x‖² min(n / s², √n / s). With s = √n
    levels, those of a Gaussian vector are near |x| of standard deviation 1: an NMSE of 0.166.

    For each chunk of 16384 numbers: for each number that is not 0 the gap from the one before it, a sign and q, all
    gaps first. Bits: 2.72 a number of Gaussian vectors at s = √n (gap 1.84, sign 1 and level 1.48 of each of the 0.631
    that are not 0), at most 3.5 + 2 log2(1 + s / √n) of any; and in bytes 8 for the norm, float64, and 8 a chunk. Which
    numbers are 0 is random, so the bytes of two packets differ.

    One norm for all numbers: where layers are of unlike size, ``PerLayer`` gives each its own.
    """

    levels: int | None = None
    """s; None is the nearest whole number to √n."""

    traits = CodecTraits(unbiased=True, delta_only=True, typical_bytes=True, max_bytes=True, ideal_bits=True)

    def __post_init__(self) -> None:
        whole = isinstance(self.levels, int) and not isinstance(self.levels, bool)
        if self.levels is not None and not (whole and 1 <= self.levels <= elias.LARGEST):
            raise ValueError(
                f"QSGD takes a whole number of levels from 1 to {elias.LARGEST}, or None for the root of the size, "
                f"got levels={self.levels!r}."
            )

    def init(self, layout: Layout | int) -> None:
        return None

    def typical_bytes(self, size: int) -> float:
        """From the probability that a standard normal number does not become 0, and the mean bits of its level."""
        step = 1e-3
        z = np.arange(step / 2, 9, step)
        weight = step * math.sqrt(2 / math.pi) * np.exp(-z * z / 2)
        a = z * (self._levels(size) / math.sqrt(size))
        low = np.floor(a).clip(max=elias.LARGEST - 1).astype(np.int64)
        f, bits = (a - low).clip(0, 1), np.where(np.arange(elias.LARGEST + 1) > 0, 2.0 * elias.LOG2 + 1, 0)
        probability = min(1.0, float(weight @ np.minimum(a, 1)))
        levels = float(weight @ ((1 - f) * bits[low] + f * bits[low + 1]))
        chunks = -(-size // CHUNK)
        return (
            8 + (HEAD.itemsize + 0.5) * chunks + size * (probability * (elias.mean_bits(probability) + 1) + levels) / 8
        )

    def max_bytes(self, size: int) -> int:
        return 8 + (HEAD.itemsize + 1) * -(-size // CHUNK) + self._most_code_bytes(size, self._levels(size))

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        check_vector(self, x)
        s = self._levels(x.size)
        norm = math.sqrt(sum(float(np.square(part, dtype=np.float64).sum()) for part in _chunks(x)))
        pieces = [np.array([norm], "<f8").tobytes()]
        factor = s / norm if norm else 0.0
        kind = np.float32 if 1e-30 < factor < 1e30 else np.float64
        for part in _chunks(x):
            a = np.abs(part).astype(kind, copy=False) * kind(factor)
            floor = np.floor(a)
            a -= floor
            q = floor.astype(np.int32)
            q += rng.random(q.size, dtype=np.float32) < a  # (1)
            index = np.flatnonzero(q > 0)
            gaps = index + 1
            gaps[1:] -= gaps[:-1].copy()
            bits = [
                *elias.encode(gaps),
                (part[index] < 0).view(np.uint8),
                *elias.encode(np.minimum(q[index], s)),
            ]
            packed = np.packbits(np.concatenate(bits))
            pieces += [np.array([(index.size, packed.size)], HEAD).tobytes(), packed.tobytes()]
        return b"".join(pieces), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        norm, s = self._norm(data, size), self._levels(size)
        x = np.zeros(size, np.float32)
        for part, (count, packed) in zip(_chunks(x), self._pieces(data, size), strict=True):
            try:
                index, level = _read(packed, count, part.size)
            except elias.Damaged as error:
                self._refuse(str(error))
            if index.size and (index[-1] >= part.size or np.abs(level).max() > s or not norm):
                self._refuse(f"an index of {index[-1]} in {part.size} numbers, or a level beyond {s}")
            part[index] = np.clip(level * (norm / s), -MOST, MOST)  # (2)
        return x

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """The norm, and n H of the signed levels q, 0 included."""
        found = np.empty(len(data))
        for row, packet in enumerate(data):
            self._norm(packet.data, size)
            counts = np.zeros(1, np.int64)
            for count, packed in self._pieces(packet.data, size):
                try:
                    more = np.bincount(_signed_levels(packed, count), minlength=counts.size)
                except elias.Damaged as error:
                    self._refuse(str(error))
                more[: counts.size] += counts
                counts = more
            counts[0] = size - counts.sum()
            found[row] = 64 + entropy_bits(counts)
        return found

    def _norm(self, data: bytes | memoryview, size: int) -> float:
        if size < 1:
            check_length(self, len(data), size, 0)
        if not 8 <= len(data) <= self.max_bytes(size):
            self._refuse(f"{len(data)} bytes for {size} numbers, and makes at most {self.max_bytes(size)}")
        norm = float(np.frombuffer(data, "<f8", 1)[0])
        if not 0 <= norm <= MOST * math.sqrt(size) * 1.01:
            self._refuse(f"a norm of {norm:g}")
        return norm

    def _pieces(self, data: bytes | memoryview, size: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield of each chunk how many of its numbers are not 0, and the bytes of their code."""
        place, s = 8, self._levels(size)
        for start in range(0, size, CHUNK):
            numbers = min(CHUNK, size - start)
            if place + HEAD.itemsize > len(data):
                self._refuse(f"{len(data)} bytes, where a chunk begins at {place}")
            count, length = map(int, np.frombuffer(data, HEAD, 1, place)[0])
            place += HEAD.itemsize
            if count > numbers or length > self._most_code_bytes(numbers, s) + 1 or place + length > len(data):
                self._refuse(f"{count} numbers in {length} bytes of a chunk of {numbers}")
            yield count, np.frombuffer(data, np.uint8, length, place)
            place += length
        if place != len(data):
            self._refuse(f"{len(data)} bytes, of which {place} are read")

    def _most_code_bytes(self, size: int, s: int) -> int:
        """Gaps add up to the size, and none takes more than 1.5 bits for each number that it passes (that of 2: 3);
        signs take 1; and as Σ (q - 1)² <= s², with the logarithm concave, levels at most 1 + 2 log2(1 + s / √n)."""
        return math.ceil(size * (3.5 + 2 * math.log2(1 + 1.01 * s / math.sqrt(size))) / 8)

    def _levels(self, size: int) -> int:
        return self.levels or max(1, min(round(math.sqrt(size)), elias.LARGEST))

    def _refuse(self, what: str) -> NoReturn:
        raise ValueError(f"{self!r} got {what}; the packet is damaged or forged: reject the reply.")


def _chunks(x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [x[start : start + CHUNK] for start in range(0, x.size, CHUNK)]


def _read(packed: NDArray[np.uint8], count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of a chunk's numbers and their signed levels."""
    bits = np.unpackbits(packed)
    gaps, used = elias.decode(bits, count, size)
    negative = bits[used : used + count]
    if negative.size < count:
        raise elias.Damaged(f"{negative.size} signs of {count}")
    used += count
    levels, more = elias.decode(bits[used:], count, bits.size)
    if bits.size - used - more > 7 or bits[used + more :].any():
        raise elias.Damaged("a wrong end")
    return np.cumsum(gaps) - 1, np.where(negative, -levels, levels)


def _signed_levels(packed: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Return 2 q, and 1 more of a negative number, of a chunk's numbers that are not 0; their gaps are not read.

    N zeros and a one begin each gap, and N bits follow all of them: to bit e of the last one, e + 1 - count are zeros.
    """
    if not count:
        return np.zeros(0, np.int64)
    own = popcount(packed)
    ones = np.cumsum(own, dtype=np.int64)
    byte = int(np.searchsorted(ones, count))
    if byte == ones.size:
        raise elias.Damaged(f"{count} numbers begin, of which {ones[-1] if ones.size else 0} end")
    left = count - int(ones[byte]) + int(own[byte])
    end = 8 * byte + int(np.flatnonzero(np.unpackbits(packed[byte : byte + 1]))[left - 1])
    used = 2 * (end + 1) - count
    bits = np.unpackbits(packed[used // 8 :])[used % 8 :]
    negative = bits[:count]
    levels, _ = elias.decode(bits[count:], count, bits.size)
    return 2 * levels + negative
