"""EDEN: a random rotation, then one to four bits a number. With one bit it is DRIVE.

    Vargaftik, Ben Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher. EDEN. ICML 2022, arXiv:2108.08842
    Vargaftik, Ben Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher. DRIVE. NeurIPS 2021, arXiv:2105.08339

A rotation makes every update nearly Gaussian, so that one table of levels is the best for all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one
from fedmtl.codecs.checks import check_length
from fedmtl.codecs.entropy import entropy_bits, joint_counts
from fedmtl.codecs.hadamard import CHUNK, rotate, rotate_back, sign_bits, widths
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.lloyd_max import lloyd_max
from fedmtl.codecs.traits import CodecTraits

SEED = 4
"""Bytes of the seed of the rotation, and of a scale."""


@dataclass(frozen=True)
class EDEN:
    """Lloyd-Max levels of a rotated vector, scaled so that the mean is right.

    For each block x of d numbers (``hadamard.py``: d = 8192, and powers of two for the rest):

        y  = R x                  R = H D_2 H D_1 (three rounds where d < 4096), random signs D        (1)
        q  = sign(y) c(|y| sqrt(d) / ‖y‖)        the nearest of the 2^bits Lloyd-Max levels            (2)
        s  = ‖y‖² / <q, y>        one float32 a block                                                  (3)
        x' = s R⁻¹ q              what is decoded                                                      (4)

    By (3), <x', x> = ‖x‖² always, and what is orthogonal to x has mean 0 over rotations: the codec is unbiased. The
    numbers of y are nearly Gaussian, whatever x is, so with the distortion D of the levels

        NMSE = D / (1 - D) = .5708, .1331, .03578, .00959 with 1, 2, 3, 4 bits.                        (5)

    Bytes: 4 + 4 B + bits N / 8, with B blocks of N numbers together; N < n + 128, as the last block alone is padded,
    and N = n where 128 divides n. The seed travels first, then the scales, then a bit of each number, its sign, and
    then each bit of the levels' numbers, the least first.

    The error of a block is spread over its numbers: a layer of small numbers beside one of large numbers is lost in
    the other's error, and has a codec of its own in ``PerLayer``.
    """

    bits: int = 1
    """Bits a number, from 1 to 4."""

    traits = CodecTraits(
        unbiased=True, delta_only=True, spreads=True, codes_rows=True, fixed_bytes=True, ideal_bits=True
    )

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 4:
            raise ValueError(f"EDEN takes 1, 2, 3 or 4 bits a number, got bits={self.bits!r}; Int8 has 8.")

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        padded, body = self._lengths(size)
        return body + self.bits * padded // 8

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        count, size = x.shape
        seeds = np.array([rng_for(k).integers(2**32, dtype=np.uint32) for k in range(count)], np.uint32)
        padded, body = self._lengths(size)
        signs, data = sign_bits(seeds, padded), np.empty((count, self.num_bytes(size)), np.uint8)
        scales = np.empty((count, (body - SEED) // 4), "<f4")
        planes = data[:, body:].reshape(count, self.bits, padded // 8)
        for part in _parts(count, size):
            width, length = part.width, part.length
            y = x[part.clients, part.numbers]
            if length > y.shape[1]:
                y = np.pad(y, ((0, 0), (0, length - y.shape[1])))
            y = y.reshape(-1, width)
            power = np.frexp(np.abs(y).max(1, keepdims=True))[1].clip(-126, 126)
            y = y * np.ldexp(np.float32(1), -power)  # the largest number is near 1, so that no square is lost
            y = rotate(y, part.of(signs))  # (1)
            scale, bits = self._quantize(y)
            with np.errstate(over="ignore"):
                scale = np.minimum(np.ldexp(scale, power[:, 0]), np.finfo(np.float32).max)
            scales[part.clients, part.blocks] = scale.reshape(-1, length // width)
            planes[part.clients, :, part.bytes] = bits.reshape(self.bits, -1, length // 8).swapaxes(0, 1)
        data[:, :SEED] = seeds.astype("<u4")[:, None].view(np.uint8)
        data[:, SEED:body] = scales.view(np.uint8)
        return data, None

    def _quantize(self, y: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The scale of each block, (3), and the bits of its numbers, [bits, M, width / 8]. ``y`` is used up."""
        _, bounds, _ = lloyd_max(self.bits)
        bits = np.empty((self.bits, len(y), y.shape[1] // 8), np.uint8)
        bits[0] = np.packbits(np.signbit(y), axis=1)
        norm = _dots(y, y)
        np.abs(y, out=y)
        unit = np.sqrt(norm / np.float32(y.shape[1]))[:, None]
        index = np.zeros(y.shape, np.uint8)
        for bound in bounds.astype(np.float32):
            index += y > bound * unit  # (2)
        for bit in range(self.bits - 1):
            bits[1 + bit] = np.packbits(index & (1 << bit), axis=1)
        product = _dots(y, _levels(np.zeros_like(bits[0]), *bits[1:]))
        scale = np.divide(norm, product, out=np.zeros_like(norm), where=product > 0)  # (3)
        return scale, bits

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(max(size, 1)))
        count, (padded, body) = len(data), self._lengths(size)
        seeds = np.ascontiguousarray(data[:, :SEED]).view("<u4")[:, 0].astype(np.uint32)
        scales = np.ascontiguousarray(data[:, SEED:body]).view("<f4").astype(np.float32)
        fits = (scales >= 0) & (scales < np.inf)  # false for NaN
        if not fits.all():
            raise ValueError(
                f"{self!r} makes scales that are finite and not negative, got {scales[~fits][0]:g}; "
                "the packet is damaged or forged: reject the reply."
            )
        planes = data[:, body:].reshape(count, self.bits, padded // 8)
        signs, x = sign_bits(seeds, padded), np.empty((count, size), np.float32)
        for part in _parts(count, size):
            y = _levels(*planes[part.clients, :, part.bytes].swapaxes(0, 1)).reshape(-1, part.width)
            y = rotate_back(y, part.of(signs))
            scale = scales[part.clients, part.blocks].reshape(-1, 1)
            with np.errstate(over="ignore"):
                y *= scale  # (4)
            if (scale > 2.0**100).any():
                np.clip(y, -np.finfo(np.float32).max, np.finfo(np.float32).max, out=y)
            x[part.clients, part.numbers] = y.reshape(-1, part.length)[:, : size - part.numbers.start]
        return x

    def _lengths(self, size: int) -> tuple[int, int]:
        """The numbers of a vector with its padding, and the bytes before their bits."""
        blocks = widths(size)
        return sum(count * width for count, width in blocks), SEED + 4 * sum(count for count, _ in blocks)

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """Seed, scales, and N H of the signed levels."""
        check_length(self, data.shape[1], size, self.num_bytes(max(size, 1)))
        _, body = self._lengths(size)
        planes = data[:, body:].reshape(len(data), self.bits, (data.shape[1] - body) // self.bits)
        return 8 * body + entropy_bits(joint_counts(planes))


class _Part(NamedTuple):
    """Blocks of one width of some clients, few enough to stay in a core's cache."""

    clients: slice
    numbers: slice
    """Places in each client's vector with its padding."""
    blocks: slice
    """Places among all blocks of a client."""
    width: int

    @property
    def length(self) -> int:
        """Numbers of each client."""
        return self.numbers.stop - self.numbers.start

    @property
    def bytes(self) -> slice:
        """Places of their bits, of each kind."""
        return slice(self.numbers.start // 8, self.numbers.stop // 8)

    def of(self, signs: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part's own signs, [ROUNDS, blocks, width / 8], of those of all, [K, ROUNDS, N / 8]."""
        own = signs[self.clients, :, self.bytes]
        return own.swapaxes(0, 1).reshape(signs.shape[1], -1, self.width // 8)


def _parts(count: int, size: int) -> Iterator[_Part]:
    """Cut K vectors into parts of at most about ``CHUNK`` numbers."""
    start = first = 0
    for blocks, width in widths(size):
        clients, step = max(1, CHUNK // (blocks * width)), min(blocks, max(1, CHUNK // width))
        for k in range(0, count, clients):
            for block in range(0, blocks, step):
                stop = min(block + step, blocks)
                numbers = slice(start + block * width, start + stop * width)
                yield _Part(slice(k, min(k + clients, count)), numbers, slice(first + block, first + stop), width)
        start, first = start + blocks * width, first + blocks


def _dots(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Products of the rows of two matrices [M, width], a call of BLAS for each: no row changes the bits of another."""
    return np.matmul(x[:, None], y[:, :, None])[:, 0, 0]


def _levels(*bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The levels of bits, as many arrays [M, N / 8] as a number has bits, [M, N]: four numbers at a time."""
    halves = np.stack([bits[0] >> 4, bits[0] & 15], axis=-1).astype(np.uint16)
    for plane in bits[1:]:
        halves <<= 4
        halves[..., 0] |= plane >> 4
        halves[..., 1] |= plane & 15
    return _table(len(bits)).take(halves, axis=0, mode="clip").reshape(len(halves), -1)


@cache
def _table(bits: int) -> NDArray[np.float32]:
    """The levels of four numbers, [16^bits, 4], by their bits: four signs, and then four of each bit of the levels'
    numbers."""
    number = np.arange(16**bits)[:, None]
    nibbles = [number >> 4 * (bits - 1 - plane) & 15 for plane in range(bits)]
    signs, *of_index = [nibble >> np.arange(3, -1, -1) & 1 for nibble in nibbles]
    index = sum((bit << k for k, bit in enumerate(of_index)), np.zeros_like(signs))
    return (np.where(signs, -1, 1) * lloyd_max(bits)[0].take(index)).astype(np.float32)
