"""BF16: packets by hand at both ends of float32, and the error of a Gaussian vector."""

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.coded import VECTORS, coded, lost, packet, refused


def _halves(*words: int) -> bytes:
    return np.array(words, "<u2").tobytes()


def packets_by_hand(bf16: Callable[..., Any]) -> CheckResult:
    """1 is 3f80, -2.5 is c020. A tie goes to the even fraction: 1 + 2^-8 to 1, 1 + 3 · 2^-8 to 1 + 2^-6, 3f82. Before
    them is the exponent 0. Vectors of zeros have it, too. From 2^127 on it is 1, and numbers are halved, also where the
    largest is negative: -2^127 is then -2^126, fe80. Below 2^-64 it is -100, 9c: 2^-130 is then 2^-30, 3080."""
    codec, x = bf16(), [1, -2.5, 1 + 2**-8, 1 + 3 * 2**-8]
    cases = [
        (x, b"\0" + _halves(0x3F80, 0xC020, 0x3F80, 0x3F82), [1, -2.5, 1, 1 + 2**-6]),
        ([0, 0], bytes(5), [0, 0]),
        ([-(2.0**127), 2], b"\1" + _halves(0xFE80, 0x3F80), [-(2.0**127), 2]),
        ([2.0**-130, 0], b"\x9c" + _halves(0x3080, 0), [2.0**-130, 0]),
    ]
    results = []
    for x, by_hand, decoded in cases:
        data = packet(codec, x)
        results.append(same_bits(np.frombuffer(data, np.uint8), np.frombuffer(by_hand, np.uint8)))
        results.append(close([codec.num_bytes(len(x))], [len(by_hand)], atol=0))
        results.append(same_bits(codec.decode(by_hand, len(x)), np.array(decoded, np.float32)))
    rows = np.stack([np.array(cases[k][0], np.float32) for k in (1, 2, 3)])
    found, _ = codec.encode_rows(rows, None, np.random.default_rng)
    results += [same_bits(found[k], np.frombuffer(cases[k + 1][1], np.uint8)) for k in range(3)]
    results.append(close(codec.decode_rows(found, 2), rows, atol=0))
    results += [refused(codec, b"\2" + _halves(1), 1), refused(codec, b"\0" + _halves(0x7F80), 1)]
    return every(*results)


def the_largest_numbers_stay_finite(bf16: Callable[..., Any]) -> CheckResult:
    """Half of the largest float32 is nearest to 2^127, twice of which is infinity: what is decoded is refused, unless
    the numbers are a 2^-8 smaller."""
    most = float(np.finfo(np.float32).max)
    return every(close(coded(bf16(), [most / 1.004, -1.0]) / most, [1, 0], atol=2**-8))


def the_error_of_a_gaussian_vector(bf16: Callable[..., Any]) -> CheckResult:
    """Within [2^e, 2^(e+1)) a number is off by a uniform part of ± 2^(e-8): Σ_e P(e) 2^(2e-14) / 12 = 2.77e-6. Of 2^16
    numbers the sampling error is below 1 %."""
    cdf = NormalDist().cdf
    expected = sum(2.0 ** (2 * e - 14) / 12 * 2 * (cdf(2.0 ** (e + 1)) - cdf(2.0**e)) for e in range(-20, 4))
    return every(
        close(expected, 2.77e-6, atol=0, rtol=5e-3),
        close(lost(bf16(), VECTORS["Gaussian"]), expected, atol=0, rtol=0.02),
    )


CHECKS = (packets_by_hand, the_largest_numbers_stay_finite, the_error_of_a_gaussian_vector)
