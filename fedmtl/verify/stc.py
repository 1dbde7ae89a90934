"""STC: a packet by hand, the error of a Gaussian vector, bits with Golomb's code, and convergence with a memory."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

from fedmtl.codecs import ErrorFeedback
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.ideal_bits import check_of, entropy, kept, refused_bits

DRAW = np.random.default_rng(0)
X = np.random.default_rng(3).standard_normal(100_000).astype(np.float32)


def a_packet_by_hand(stc: Callable[..., Any]) -> CheckResult:
    """n = 8, two are kept, 5 and −7: μ = 6 and signs 0, 1. p = 1/4, so b = 1 + ⌊log2(.4812 / .2877)⌋ = 1. The gaps
    are 1 = 0·2 + 1 and 4 = 2·2 + 0: lower bits 1, 0 and then 1, 001. One number of fewer than two that are not 0
    is alone."""
    codec, x = stc(keep=0.25), np.array([0, 5, 1, 0, -1, 0, -7, 2], np.float32)
    data, _ = codec.encode(x, codec.init(8), DRAW)
    head = np.array([6], "<f4").tobytes() + np.array([2], "<u4").tobytes()
    by_hand = head + bytes([0b0100_0000, 0b1000_0000, 0b1001_0000])
    results = [same_bits(np.frombuffer(data, np.uint8), np.frombuffer(by_hand, np.uint8))]
    results.append(close(codec.decode(data, 8), [0, 6, 0, 0, 0, 0, -6, 0], atol=0))
    alone = np.array([0, 0, -3, 0, 0, 0, 0, 0], np.float32)
    for one in (alone, 0 * alone):
        results.append(close(codec.decode(codec.encode(one, codec.init(8), DRAW)[0], 8), one, atol=0))
    return every(*results)


def the_error_of_a_gaussian_vector(stc: Callable[..., Any]) -> CheckResult:
    """NMSE = 1 − 4 φ(t)² / p with P(|x| > t) = p: .9164 at 1 %, .7265 at 5 %."""
    results = []
    for p in (0.01, 0.05):
        codec, t = stc(keep=p), NormalDist().inv_cdf(1 - p / 2)
        found = codec.decode(codec.encode(X, codec.init(X.size), DRAW)[0], X.size).astype(np.float64)
        expected = 1 - 4 * NormalDist().pdf(t) ** 2 / p
        results.append(close(np.sum((found - X) ** 2) / np.sum(X.astype(np.float64) ** 2), expected, atol=0.002))
    return every(*results)


def bits_are_those_of_golombs_code(stc: Callable[..., Any]) -> CheckResult:
    """At 1 % a sign and b + 1 / (1 − .99^64) = 8.108 bits with b = 6: .0911 a number, and 8 bytes beside. It is what is
    stated, to a hundredth. The most is where gaps are of all of the rest: 1,000 of 100,000 have 750 bytes of lower
    bits, 125 of signs and (1,000 + ⌊99,000 / 64⌋) / 8 of the runs."""
    codec, p = stc(keep=0.01), 0.01
    expected = 8 + 1000 * (1 + 6 + 1 / (1 - (1 - p) ** 64)) / 8
    size = len(codec.encode(X, codec.init(X.size), DRAW)[0])
    stated = close([size, codec.typical_bytes(X.size)], [expected, expected], atol=0.0, rtol=0.01)
    return every(stated, close(codec.max_bytes(X.size), 8 + 125 + 750 + math.ceil((1000 + 99_000 // 64) / 8), atol=0))


def with_a_memory_nothing_is_lost(stc: Callable[..., Any]) -> CheckResult:
    """Over 100 rounds Σ x = Σ x' + e in each number, to 1e-6 of the norm of Σ x: the memory e is kept in float32."""
    codec, rng = ErrorFeedback(stc(keep=0.05)), np.random.default_rng(1)
    state, sent, received = codec.init(400), np.zeros(400), np.zeros(400)
    for _ in range(100):
        x = rng.standard_normal(400).astype(np.float32)
        data, state = codec.encode(x, state, DRAW)
        sent, received = sent + x, received + codec.decode(data, 400)
    return close((received + state[0]) / np.linalg.norm(sent), sent / np.linalg.norm(sent), atol=1e-6)


def more_numbers_than_are_kept_are_refused(stc: Callable[..., Any]) -> CheckResult:
    """A head that claims one more than 20 of 100 numbers is forged: its receiver says so, with or without decoding."""
    codec, x = stc(keep=0.2), np.random.default_rng(3).standard_normal(100).astype(np.float32)
    data, _ = codec.encode(x, codec.init(100), np.random.default_rng(0))
    return refused_bits(codec, data[:4] + (21).to_bytes(4, "little") + data[8:], 100)


CHECKS = (
    a_packet_by_hand,
    bits_are_those_of_golombs_code,
    the_error_of_a_gaussian_vector,
    with_a_memory_nothing_is_lost,
    more_numbers_than_are_kept_are_refused,
    check_of(kept(lambda values: 64 + entropy(values)), lambda cls: cls(keep=0.2)),
)
