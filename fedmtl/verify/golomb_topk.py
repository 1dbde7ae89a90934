"""GolombTopK: a packet by hand, the error of a Gaussian vector, bits with Golomb's code, and a memory."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

from fedmtl.codecs import TopK
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.coded import VECTORS, coded, lost, packet, refused
from fedmtl.verify.ideal_bits import check_of, kept


def a_packet_by_hand(golomb: Callable[..., Any]) -> CheckResult:
    """n = 8, two are kept, 5 and -7, as they are. p = 1/4, so b = 1 + ⌊log2(.4812 / .2877)⌋ = 1. The gaps are 1 = 0·2 +
    1 and 4 = 2·2 + 0: lower bits 1, 0 and then 1, 001. A number that is not finite, an index beyond the end (gaps 1 and
    2·2 + 1, the lower bits 1, 1, and then 7), and bits behind the last index are refused."""
    codec, x = golomb(keep=0.25), np.array([0, 5, 1, 0, -1, 0, -7, 2], np.float32)
    numbers = np.array([5, -7], "<f4").tobytes()
    by_hand = numbers + bytes([0b1000_0000, 0b1001_0000])
    infinite = np.array([5, np.inf], "<f4").tobytes() + by_hand[8:]
    return every(
        same_bits(np.frombuffer(packet(codec, x), np.uint8), np.frombuffer(by_hand, np.uint8)),
        close(codec.decode(by_hand, 8), [0, 5, 0, 0, 0, 0, -7, 0], atol=0),
        close(codec.decode(numbers + bytes([0b1100_0000, 0b1001_0000]), 8), [0, 5, 0, 0, 0, 0, 0, -7], atol=0),
        refused(codec, infinite, 8),
        refused(codec, numbers + bytes([0b1100_0000, 0b1000_1000]), 8),
        refused(codec, numbers + bytes([0b1000_0000, 0b1001_0001]), 8),
        refused(codec, by_hand[:-1], 8),
    )


def the_numbers_are_those_of_topk(golomb: Callable[..., Any]) -> CheckResult:
    """Bit for bit, on vectors of four kinds; and on a Gaussian one the NMSE is 1 - p - 2 t φ(t) with P(|x| > t) = p."""
    results = []
    for x in VECTORS.values():
        results.append(same_bits(coded(golomb(keep=0.02), x), coded(TopK(keep=0.02), x)))
    for p in (0.01, 0.1):
        t = NormalDist().inv_cdf(1 - p / 2)
        expected = 1 - p - 2 * t * NormalDist().pdf(t)
        results.append(close(lost(golomb(keep=p), VECTORS["Gaussian"]), expected, atol=0.003))
    return every(*results)


def bits_are_those_of_golombs_code(golomb: Callable[..., Any]) -> CheckResult:
    """At 1 % b = 6, and an index takes b + 1 / (1 - .99^64) = 8.108 bits beside its number's 32. The most is where gaps
    are of all of the rest: of 656 of 65,536 492 bytes of lower bits and (656 + ⌊64,880 / 64⌋) / 8 of the runs."""
    codec, k = golomb(keep=0.01), 656
    expected = 4 * k + k * (6 + 1 / (1 - (1 - k / 2**16) ** 64)) / 8
    found = [len(packet(codec, VECTORS["Laplace"])), codec.typical_bytes(2**16)]
    most = 4 * k + 492 + math.ceil((k + 64_880 // 64) / 8)
    return every(close(found, [expected] * 2, atol=0.0, rtol=4e-3), close(codec.max_bytes(2**16), most, atol=0))


CHECKS = (
    a_packet_by_hand,
    the_numbers_are_those_of_topk,
    bits_are_those_of_golombs_code,
    check_of(kept(lambda values: 32 * values.size), lambda cls: cls(keep=0.2)),
)
