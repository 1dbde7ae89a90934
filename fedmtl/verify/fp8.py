"""FP8: packets by hand in both formats, blocks of a long vector, and the errors of a Gaussian one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.coded import VECTORS, coded, lost, packet, refused


def packets_by_hand(fp8: Callable[..., Any]) -> CheckResult:
    """With 3 bits of fraction and a bias of 7: 448 is s.1111.110, 7e, the scale of whose block is 1; -1 is b8, a half
    30. 1.0625 is in the middle of 1 and 1.125, so it is the even one, 38; 2^-9, the least number, is 01. The second
    block has the scale 2. With 2 bits and a bias of 15: 57344 is 7b, -1.25 is bd, and 1.125 is 1, 3c."""
    four = [448, -1, 0.5, 1.0625, 896, 2**-8]
    five = [57344, -1.25, 1.125]
    cases = [
        (fp8(block=4), four, [1, 2], [0x7E, 0xB8, 0x30, 0x38, 0x7E, 0x01], [448, -1, 0.5, 1, 896, 2**-8]),
        (fp8(format="e5m2", block=4), five, [1], [0x7B, 0xBD, 0x3C], [57344, -1.25, 1]),
    ]
    results = []
    for codec, x, scales, bytes_, decoded in cases:
        by_hand = np.array(scales, "<f4").tobytes() + bytes(bytes_)
        results.append(same_bits(np.frombuffer(packet(codec, x), np.uint8), np.frombuffer(by_hand, np.uint8)))
        results.append(close([codec.num_bytes(len(x))], [len(by_hand)], atol=0))
        results.append(close(codec.decode(by_hand, len(x)), decoded, atol=0))
        results.append(refused(codec, by_hand[:-1] + b"\x7f", len(x)))  # not a number
    return every(*results)


def blocks_of_a_long_vector(fp8: Callable[..., Any]) -> CheckResult:
    """100,000 numbers in blocks of 10,000, each with a scale of its own, 448 2^b / 448: powers of two of it arrive as
    they are, also beyond what is worked on at a time; of two rows each has its own scales."""
    x = (448 * 2.0 ** (np.arange(100_000) // 10_000) * 2.0 ** -(np.arange(100_000) % 10)).astype(np.float32)
    codec, rows = fp8(block=10_000), np.stack([x, 4 * x])
    found, _ = codec.encode_rows(rows, None, np.random.default_rng)
    return every(close(coded(codec, x), x, atol=0), close(codec.decode_rows(found, x.size), rows, atol=0))


def the_error_of_a_gaussian_vector(fp8: Callable[..., Any]) -> CheckResult:
    """Within a binade numbers are 2^(e-3), or 2^(e-2), apart, so a uniform part of half of that is lost: 7.0e-4 and
    four times that, 2.8e-3; a sampling error of 1 %, and 4 % for where in a binade the largest
    of a block is."""
    x = VECTORS["Gaussian"]
    return every(
        close(lost(fp8(), x), 7.0e-4, atol=0, rtol=0.05),
        close(lost(fp8(format="e5m2"), x), 2.8e-3, atol=0, rtol=0.05),
    )


CHECKS = (packets_by_hand, blocks_of_a_long_vector, the_error_of_a_gaussian_vector)
