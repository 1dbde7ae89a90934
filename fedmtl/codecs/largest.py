"""The numbers of largest magnitude: how many a fraction is, and which they are."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLED = 64
"""One number of 64 is looked at to find a bound."""


def check_keep(codec: Any, keep: Any) -> None:
    """Refuse what is no fraction.

    Raises:
        ValueError: it names the codec and the value.
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 < keep <= 1:
        raise ValueError(f"{type(codec).__name__} keeps a fraction in (0, 1], got keep={keep!r}.")


def kept_of(keep: float, size: int) -> int:
    """Return max(1, ceil(keep · size)), with the decimal fraction: 0.07 · 100 is 7.000000000000001 in binary."""
    return max(1, math.ceil(round(keep * size, 6)))


def largest(magnitude: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the indices of the k largest, rising; of equals, the first ones. [k]"""
    among = _candidates(magnitude, k)
    own = magnitude[among]
    threshold = np.partition(own, own.size - k)[own.size - k]
    kept = own > threshold
    equal = np.flatnonzero(own == threshold)
    kept[equal[: k - np.count_nonzero(kept)]] = True
    return among[kept]


def _candidates(magnitude: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return indices, rising, among which the k largest are: few of them, as a sample shows a bound below the k-th."""
    sample = magnitude[::SAMPLED]
    place = math.ceil(1.2 * k / SAMPLED + 6 * math.sqrt(k / SAMPLED)) + 1
    if place < sample.size:
        found = np.flatnonzero(magnitude >= np.partition(sample, sample.size - place)[sample.size - place])
        if found.size >= k:
            return found
    return np.arange(magnitude.size)
