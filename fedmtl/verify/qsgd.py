"""QSGD: packets by hand, the error and the mean of rounding at random, and the bytes of a Gaussian vector."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, below, close, every, same_bits
from fedmtl.verify.coded import VECTORS, coded, packet, refused, square
from fedmtl.verify.ideal_bits import check_of, levels_and


def packets_by_hand(qsgd: Callable[..., Any]) -> CheckResult:
    """(3, -4, 0, 0) has the norm 5; with 5 levels it is 3, -4 without rounding. Gaps 1, 1 are 1 1, signs 0 1, and 3 and
    4, 2^1 + 1 and 2^2 + 00, are 01 001, then 1 0, then 0: d4 c0. A gap of 5 before -5 is 001 and 1 0, its sign 1, 5
    once more: 34 c0. Without ``levels`` there are √4 = 2: (0, 0, 0, 2) is whole. Vectors of zeros have no numbers."""
    results = []
    for codec, x, count, body in (
        (qsgd(levels=5), [3, -4, 0, 0], 2, b"\xd4\xc0"),
        (qsgd(levels=5), [0, 0, 0, 0, -5], 1, b"\x34\xc0"),
        (qsgd(), [0, 0, 0, 2], 1, bytes([0b0010_0001, 0])),  # gap 4: 001, 0, 0; sign 0; level 2: 01, 0
        (qsgd(), [0, 0], 0, b""),
    ):
        norm, head = np.array([math.hypot(*x)], "<f8").tobytes(), np.array([count, len(body)], "<u4").tobytes()
        by_hand = norm + head + body
        results.append(same_bits(np.frombuffer(packet(codec, x), np.uint8), np.frombuffer(by_hand, np.uint8)))
        results.append(close(codec.decode(by_hand, len(x)), x, atol=0, rtol=1e-6))
        results += [refused(codec, by_hand[:7], len(x)), refused(codec, by_hand + b"\0", len(x))]
    three = np.array([5.0], "<f8").tobytes() + np.array([2, 2], "<u4").tobytes()
    results.append(refused(qsgd(levels=3), three + b"\xd4\xc0", 4))  # a level of 4
    results.append(refused(qsgd(levels=5), three + b"\xd4\xc1", 4))  # a bit behind the last number
    results.append(refused(qsgd(levels=5), np.array([-5.0], "<f8").tobytes() + three[8:] + b"\xd4\xc0", 4))
    return every(*results)


def long_vectors_and_large_numbers(qsgd: Callable[..., Any]) -> CheckResult:
    """22,500 ones of either sign among 50,000 numbers have the norm 150: with 150 levels all are whole, in the fourth
    part of 16,384, too. The largest float32, 10,000 times, arrives within a few 2^-24 of itself, or as 0."""
    x = np.zeros(50_000, np.float32)
    x[np.random.default_rng(1).permutation(50_000)[:22_500]] = np.where(np.arange(22_500) % 3, 1, -1)
    most = np.full(10_000, np.finfo(np.float32).max)
    found = coded(qsgd(levels=100), most) / float(most[0])
    return every(
        close(coded(qsgd(levels=150), x), x, atol=1e-6), close(found[found > 0], np.ones((found > 0).sum()), atol=1e-6)
    )


def error_and_mean_of_rounding_at_random(qsgd: Callable[..., Any]) -> CheckResult:
    """Given x, E‖x' - x‖² = ‖x‖² Σ f (1 - f) / s², f the part of a level in s |x| / ‖x‖: measured 50 times, within 5 of
    its standard errors; it is at most min(n / s², √n / s) of ‖x‖². The mean of the 50 has a 50th of it."""
    results = []
    for levels, names in ((None, VECTORS), (4, ("log-normal",))):
        for name in names:
            x, s = VECTORS[name][:4096].astype(np.float32), levels or 64
            f = s * np.abs(x.astype(np.float64)) / math.sqrt(square(x)) % 1
            expected = float(f @ (1 - f)) / s**2
            found = np.stack([coded(qsgd(levels=levels), x, seed) for seed in range(50)])
            errors = [square(one - x) / square(x) for one in found]
            results.append(close(np.mean(errors), expected, atol=5 * float(np.std(errors)) / 50**0.5))
            results.append(below(expected, min(4096 / s**2, 64 / s)))
            results.append(below(square(found.mean(0) - x) / square(x), 1.5 * expected / 50))
    return every(*results)


@cache
def _gaussian_bytes(levels: int | None, n: int) -> float:
    """Bytes of a packet of n Gaussian numbers, on average.

    A number of |z| steps becomes k with probability E[(1 - | |z| - k |)+], and v takes 2 ⌊log2 v⌋ + 1 bits: a gap v
    has probability p (1 - p)^(v - 1). Beside: 8 bytes of the norm and 8 of each part of 16,384, which is filled up by
    half a byte.
    """
    z = (np.arange(18_000) + 0.5) / 2_000
    weight = np.exp(-z * z / 2) * math.sqrt(2 / math.pi) / 2_000
    steps = z * (levels or round(math.sqrt(n))) / math.sqrt(n)
    gamma = [2 * v.bit_length() - 1 for v in range(4000)]
    chance = [float(weight @ np.maximum(0, 1 - np.abs(steps - k))) for k in range(12)]
    p = 1 - chance[0]
    gap = sum(p * chance[0] ** (v - 1) * gamma[v] for v in range(1, 4000))
    bits = p * (gap + 1) + sum(chance[k] * gamma[k] for k in range(1, 12))
    return 8 + 8.5 * math.ceil(n / 2**14) + n * bits / 8


CASES = ((None, 2**16), (70, 2**16), (None, 16_384 + 100))
"""Levels, and numbers of a Gaussian vector."""


def typical_and_most_bytes(qsgd: Callable[..., Any]) -> CheckResult:
    """The bytes of a Gaussian vector on average: the integral over |z| of each level's probability, and a sum over
    gaps. The most: 3.5 + 2 log2(1 + s / √n) bits of a number, with a hundredth of s for rounding, and 9 a part."""
    results = []
    for levels, n in CASES:
        codec, s = qsgd(levels=levels), levels or round(math.sqrt(n))
        results.append(close(codec.typical_bytes(n), _gaussian_bytes(levels, n), atol=0, rtol=2e-5))
        bits = 3.5 + 2 * math.log2(1 + 1.01 * s / math.sqrt(n))
        results.append(close(codec.max_bytes(n), 8 + 9 * math.ceil(n / 2**14) + math.ceil(n * bits / 8), atol=0))
    # One number with as many levels as can be: its gap 1, its sign, and a level of some 2 · 15 + 1 bits.
    return every(*results, close(qsgd(levels=2**16 - 1).typical_bytes(1), 8 + 8.5 + (1 + 1 + 30) / 8, atol=0.5))


def bytes_of_a_gaussian_vector(qsgd: Callable[..., Any]) -> CheckResult:
    """The packet of a drawn one, to a hundredth of the average, from each level's probability and a sum over gaps."""
    results = []
    for levels, n in CASES:
        length = len(packet(qsgd(levels=levels), VECTORS["Gaussian"][:n]))
        results.append(close(length, _gaussian_bytes(levels, n), atol=0, rtol=0.01))
    return every(*results)


CHECKS = (
    packets_by_hand,
    long_vectors_and_large_numbers,
    error_and_mean_of_rounding_at_random,
    typical_and_most_bytes,
    bytes_of_a_gaussian_vector,
    check_of(levels_and(64), lambda cls: cls(), (128, 203, 2**16 + 5)),
)
