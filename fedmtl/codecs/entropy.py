"""Entropy of a packet's symbols: the bits that the best code of them would take, were each independent of the others.

Shannon. A mathematical theory of communication. Bell System Technical Journal 1948, section 6

With c_j of a packet's n symbols equal to j, and k of n places chosen:

    n H = n log2 n - Σ_j c_j log2 c_j        symbols, with the packet's own frequencies            (1)
    log2 C(n, k)                             places, all choices of k being as likely              (2)

Scales, seeds and float32 numbers count as they are. A packet that has fewer bits than (1) or (2) shows what they leave
out, such as places that lie together; its own bits are then the better figure.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 2**16
"""Bytes that are counted at a time."""
_NUMPY_2 = not np.__version__.startswith("1.")
"""From which on numpy counts bits."""
_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)


def popcount(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the ones among the bits of each byte."""
    return np.bitwise_count(data) if _NUMPY_2 else _ONES[data]


def entropy_bits(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return n H, (1), of K packets from how often they have each symbol, [K, symbols].

    >>> entropy_bits(np.array([[4, 4], [8, 0]])).tolist()
    [8.0, 0.0]
    """
    return _logs(counts.sum(-1)) - _logs(counts).sum(-1)


def _logs(counts: Any) -> Any:
    """c log2 c, 0 of 0."""
    return counts * np.log2(np.maximum(counts, 1))


@cache
def choice_bits(size: int, kept: int) -> float:
    """Return log2 C(n, k), (2).

    >>> round(choice_bits(4, 2), 12) == round(math.log2(6), 12)
    True
    """
    log = math.lgamma(size + 1) - math.lgamma(kept + 1) - math.lgamma(size - kept + 1)
    return max(0.0, log / math.log(2))


def ones(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the ones among the bits of the last axis."""
    return popcount(data).sum(-1, dtype=np.int64)


def byte_counts(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often each of the 256 bytes is in each of K rows, [K, 256]."""
    import torch  # codecs come without it; numpy's bincount first makes 8 bytes of each, and takes twice the time

    found, step = np.empty((len(data), 256), np.int64), max(1, CHUNK // data.shape[1])
    for start in range(0, len(data), step):
        rows = data[start : start + step]
        first = np.arange(0, 256 * len(rows), 256, dtype=np.int32)[:, None]
        numbers = rows.copy() if len(rows) == 1 else rows + first
        counts = torch.bincount(torch.from_numpy(numbers.reshape(-1)), minlength=256 * len(rows))
        found[start : start + len(rows)] = counts.numpy().reshape(-1, 256)
    return found


def joint_counts(planes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often each symbol is in K packets, [K, 2^b], from the planes of its b bits, [K, b, bytes].

    The ones of a product of planes say how often at least these bits are set; taking out those with one more, bit by
    bit, leaves how often exactly these are.
    """
    count, bits, length = planes.shape
    found = np.empty((count, 2**bits), np.int64)
    found[:, 0] = 8 * length
    for symbol in range(1, 2**bits):
        low = symbol & -symbol
        product = planes[:, low.bit_length() - 1]
        for bit in range(low.bit_length(), bits):
            if symbol >> bit & 1:
                product = product & planes[:, bit]
        found[:, symbol] = ones(product)
    for bit in range(bits):
        without = [symbol for symbol in range(2**bits) if not symbol >> bit & 1]
        found[:, without] -= found[:, [symbol | 1 << bit for symbol in without]]
    return found


def bits_of(codec: Any, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """Return the ideal bits of packets [K, bytes], [K]: 8 a byte of a codec that declares none.

    Raises:
        ValueError: as the codec's.
    """
    return codec.ideal_bits(data, size) if codec.traits.ideal_bits else np.full(len(data), 8.0 * data.shape[1])
