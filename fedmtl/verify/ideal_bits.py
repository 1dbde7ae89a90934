"""Ideal bits of a codec's packets, from what its receiver decodes: levels that differ are numbers that differ."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.verify.check import CheckResult, close, every

SIZES = (128, 203)
"""Sizes of vectors in one block, the second with padding where numbers are packed in pairs or fives."""


def entropy(symbols: NDArray[Any]) -> float:
    """n H = -Σ c log2(c / n), of c equal symbols each."""
    counts = np.unique(symbols, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def check_of(
    bits: Callable[[NDArray[np.float32]], float], make: Callable[..., Any], sizes: tuple[int, ...] = SIZES
) -> Callable[..., CheckResult]:
    """Return a check that the ideal bits of Gaussian vectors are ``bits`` of what is decoded.

    Args:
        make: codec's class -> a codec.
        sizes: of the vectors.
    """

    def ideal_bits_are_those_of_what_is_decoded(cls: Callable[..., Any]) -> CheckResult:
        """n H of the decoded numbers, log2 C(n, k) of places, and scales as they are, by numpy alone, to 1e-9."""
        codec, results = make(cls), []
        for size in sizes:
            x = np.random.default_rng(size).standard_normal(size).astype(np.float32) + np.float32(0.3)
            data, _ = codec.encode(x, codec.init(size), np.random.default_rng(0))
            found = codec.ideal_bits(np.stack([np.frombuffer(data, np.uint8)] * 2), size)
            results.append(close(found, [bits(codec.decode(data, size))] * 2, atol=0.0, rtol=1e-9))
        return every(*results)

    return ideal_bits_are_those_of_what_is_decoded


def refused_bits(codec: Any, data: bytes, size: int) -> CheckResult:
    """Check that forged bytes have no ideal bits, but a ValueError."""
    try:
        found = codec.ideal_bits(np.frombuffer(data, np.uint8)[None], size)
    except ValueError:
        return CheckResult("an error", "an error", True)
    return CheckResult("an error", f"{found}", False)


def levels_and(scales: int) -> Callable[[NDArray[np.float32]], float]:
    """Levels of all numbers, and ``scales`` bits."""
    return lambda decoded: scales + entropy(decoded)


def kept(of_values: Callable[[NDArray[np.float32]], float]) -> Callable[[NDArray[np.float32]], float]:
    """Places of the numbers that are not 0, and what ``of_values`` says of these."""

    def bits(decoded: NDArray[np.float32]) -> float:
        values = decoded[decoded != 0]
        return math.log2(math.comb(decoded.size, values.size)) + of_values(values)

    return bits
