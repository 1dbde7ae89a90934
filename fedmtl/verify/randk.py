"""RandK: places by SplitMix64 in plain whole numbers, the mean, and the error of any vector."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, below, close, every, same_bits
from fedmtl.verify.coded import VECTORS, coded, packet, refused, splitmix, square


def _places(seed: int, n: int, k: int) -> list[int]:
    """Return the places of the k least of n words of 32 bits, two in each of 64, the lower half first."""
    each = [half for word in splitmix(seed, (n + 1) // 2) for half in (word & 0xFFFFFFFF, word >> 32)][:n]
    return sorted(sorted(range(n), key=lambda i: (each[i], i))[:k])


def places_and_numbers_by_hand(randk: Callable[..., Any]) -> CheckResult:
    """Numbers 1, 2, … say where they were: of 10 with a fraction of .25 three are sent, of 3,000 750, and of 7 all.
    What is decoded is 0, or n / k times the number. Of two rows each has its own seed."""
    results = []
    for n, keep, k in ((10, 0.25, 3), (3000, 0.25, 750), (7, 1.0, 7), (5, 0.01, 1)):
        codec, x = randk(keep=keep), np.arange(1, n + 1, dtype=np.float32)
        data = packet(codec, x)
        places = _places(int(np.frombuffer(data, "<u4", 1)[0]), n, k)
        expected = np.zeros(n)
        expected[places] = x[places] * (n / k)
        results.append(close([len(data), codec.num_bytes(n)], [4 + 4 * k] * 2, atol=0))
        results.append(same_bits(np.frombuffer(data, "<f4", k, 4), x[places]))
        results.append(close(codec.decode(data, n), expected, atol=0, rtol=1e-6))
        rows, _ = codec.encode_rows(np.stack([-x, x]), None, lambda row: np.random.default_rng(1 - row))
        results.append(same_bits(rows[1], np.frombuffer(data, np.uint8)))
        results.append(close(codec.decode_rows(rows, n)[1], expected, atol=0, rtol=1e-6))
    infinite = packet(randk(keep=1.0), [1.0, 2.0])[:8] + np.array([np.inf], "<f4").tobytes()
    most = float(np.finfo(np.float32).max)
    results.append(close(np.abs(coded(randk(keep=0.5), [most, -most])).max(), most, atol=0))
    return every(*results, refused(randk(keep=1.0), infinite, 2))


def mean_and_error(randk: Callable[..., Any]) -> CheckResult:
    """E‖x' - x‖² = (n / k - 1) ‖x‖² whatever x is: 9 with a tenth; and the mean of 400 draws has a 400th of it. Of a
    sparse vector a draw's error varies by a fifth, so the mean's by a hundredth."""
    results = []
    for name in ("Laplace", "sparse"):
        x = VECTORS[name][:4000].astype(np.float32)
        found = np.stack([coded(randk(keep=0.1), x, seed) for seed in range(400)])
        errors = [square(one - x) / square(x) for one in found]
        results.append(close(np.mean(errors), 9, atol=5 * float(np.std(errors)) / 20))
        results.append(below(square(found.mean(0) - x) / square(x), 1.5 * 9 / 400))
    return every(*results)


CHECKS = (places_and_numbers_by_hand, mean_and_error)
