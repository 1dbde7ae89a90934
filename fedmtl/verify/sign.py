"""Sign: a packet by hand, alone and in a cohort, and the error of a Gaussian vector."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.ideal_bits import check_of, levels_and

DRAW = np.random.default_rng(0)


def a_packet_by_hand(sign: Callable[..., Any]) -> CheckResult:
    """Magnitudes 3 1 0 4 2 2 1 1 1 5 have the mean 2; below zero are the second, fourth and last: bits 01010000 01,
    with zeros behind, and a one there is refused. Two rows have the bytes of each alone."""
    codec, x = sign(), np.array([3, -1, 0, -4, 2, 2, 1, 1, 1, -5], np.float32)
    data, _ = codec.encode(x, codec.init(10), DRAW)
    by_hand = np.frombuffer(np.array([2], "<f4").tobytes() + bytes([0b0101_0000, 0b0100_0000]), np.uint8)
    try:
        codec.decode(by_hand.tobytes()[:-1] + bytes([0b0100_0001]), 10)
        refused = False
    except ValueError:
        refused = True
    rows = codec.encode_rows(np.stack([x, 0 * x]), None, np.random.default_rng)[0]
    return every(
        same_bits(np.frombuffer(data, np.uint8), by_hand),
        same_bits(rows[0], by_hand),
        close(codec.num_bytes(10), 6, atol=0),
        close(float(refused), 1.0, atol=0),
        close(codec.decode(data, 10), [2, -2, 2, -2, 2, 2, 2, 2, 2, -2], atol=0),
        close(codec.decode_rows(rows, 10)[1], np.zeros(10), atol=0),
    )


def the_error_of_a_gaussian_vector(sign: Callable[..., Any]) -> CheckResult:
    """All of the squared norm but (E|x|)^2 = 2 / pi is lost: NMSE = .3634, with a sampling error below .002."""
    codec, x = sign(), np.random.default_rng(3).standard_normal(200_000).astype(np.float32)
    found = codec.decode(codec.encode(x, codec.init(x.size), DRAW)[0], x.size).astype(np.float64)
    return close(np.sum((found - x) ** 2) / np.sum(x.astype(np.float64) ** 2), 1 - 2 / math.pi, atol=0.004)


CHECKS = (a_packet_by_hand, the_error_of_a_gaussian_vector, check_of(levels_and(32), lambda cls: cls()))
