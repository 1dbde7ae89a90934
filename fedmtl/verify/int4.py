"""Int4: a packet by hand, and the mean of many."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.ideal_bits import check_of, levels_and


def a_packet_by_hand(int4: Callable[..., Any]) -> CheckResult:
    """Scales 7 / 7 = 1 and 14 / 7 = 2; whole numbers of them are not rounded: 7 -3 2 -7, 7 0 -3. In two's complement
    they are 7 d 2 9, 7 0 d, the first of two in the lower half of a byte: d7 92 07 0d. No number is 8, which is -8."""
    codec, x = int4(block=4), np.array([7, -3, 2, -7, 14, 0, -6], np.float32)
    data, _ = codec.encode(x, codec.init(7), np.random.default_rng(0))
    by_hand = np.array([1, 2], "<f4").tobytes() + bytes([0xD7, 0x92, 0x07, 0x0D])
    rows = codec.encode_rows(np.stack([0 * x, x]), None, np.random.default_rng)[0]
    try:
        codec.decode(by_hand[:8] + bytes([0xD8, 0x92, 0x07, 0x0D]), 7)
        refused = False
    except ValueError:
        refused = True
    return every(
        same_bits(np.frombuffer(data, np.uint8), np.frombuffer(by_hand, np.uint8)),
        same_bits(rows[1], np.frombuffer(by_hand, np.uint8)),
        close(codec.num_bytes(7), 12, atol=0),
        close(codec.decode(data, 7), x, atol=0),
        close(codec.decode_rows(rows, 7), [0 * x, x], atol=0),
        close(float(refused), 1.0, atol=0),
    )


def mean_and_variance(int4: Callable[..., Any]) -> CheckResult:
    """E[x'] = x, and the variance is s² f (1 - f): of 1.25 steps in a block with 7, 3/16; over 4,000 draws the standard
    error of the mean is .007, and that of the variance, with f (1 - f) (1 - 2 f)² = .047, is .0035."""
    codec, x = int4(block=2), np.tile(np.array([7, 1.25], np.float32), 4000)
    found = codec.decode(codec.encode(x, codec.init(x.size), np.random.default_rng(1))[0], x.size)[1::2]
    return every(close(found.mean(), 1.25, atol=0.028), close(found.var(), 3 / 16, atol=0.015))


CHECKS = (a_packet_by_hand, mean_and_variance, check_of(levels_and(32), lambda cls: cls(block=256)))
