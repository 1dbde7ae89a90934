"""TernGrad: a packet by hand, and the mean and the variance of many."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.ideal_bits import check_of, levels_and, refused_bits


def a_packet_by_hand(terngrad: Callable[..., Any]) -> CheckResult:
    """Numbers that are 0 or as large as any of their block of four are not rounded: q = 1 -1 0 0, 1 0 -1 and q + 1 = 2
    0 1 1 2, 1 0, so bytes 2 + 9 + 27 + 162 = 200 and 1, behind the scales 2 and 5. No five numbers are the byte 243."""
    codec, x = terngrad(block=4), np.array([2, -2, 0, 0, 5, 0, -5], np.float32)
    data, _ = codec.encode(x, codec.init(7), np.random.default_rng(0))
    by_hand = np.array([2, 5], "<f4").tobytes() + bytes([200, 1])
    try:
        codec.decode(by_hand[:8] + bytes([243, 1]), 7)
        refused = False
    except ValueError:
        refused = True
    return every(
        same_bits(np.frombuffer(data, np.uint8), np.frombuffer(by_hand, np.uint8)),
        close(codec.num_bytes(7), 10, atol=0),
        close(codec.decode(data, 7), x, atol=0),
        close(float(refused), 1.0, atol=0),
    )


def mean_and_variance(terngrad: Callable[..., Any]) -> CheckResult:
    """E[x'] = x, and the variance is s |x| - x²: of 1 in a block with 4, 3; over 4,000 draws the standard error of the
    mean is .03, and that of the variance, whose fourth moment is 21, is .06."""
    codec, x = terngrad(block=2), np.tile(np.array([4, 1], np.float32), 4000)
    found = codec.decode(codec.encode(x, codec.init(x.size), np.random.default_rng(1))[0], x.size)[1::2]
    return every(close(found.mean(), 1.0, atol=0.11), close(found.var(), 3.0, atol=0.25))


def bytes_of_no_five_numbers_are_refused(terngrad: Callable[..., Any]) -> CheckResult:
    """Five numbers of three levels are a byte up to 3^5 - 1 = 242; the last of 40, behind a scale, is 243."""
    codec, x = terngrad(block=256), np.random.default_rng(3).standard_normal(200).astype(np.float32)
    data, _ = codec.encode(x, codec.init(200), np.random.default_rng(0))
    return refused_bits(codec, data[:-1] + b"\xf3", 200)


CHECKS = (
    a_packet_by_hand,
    mean_and_variance,
    bytes_of_no_five_numbers_are_refused,
    check_of(levels_and(32), lambda cls: cls(block=256)),
)
