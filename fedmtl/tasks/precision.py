"""Numbers that float32 makes one: it keeps 24 bits, and ids, times and offsets need more."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)
"""Largest float32."""

WHOLE = 2**24
"""The whole numbers up to which float32 has each of its own."""

CHUNK = 2**22
"""Numbers looked at together, so that an array is not held twice."""


def merged_by_float32(x: NDArray[Any], rounded: NDArray[np.float32]) -> tuple[int, int, int] | None:
    """The first column in which different numbers became one, with its numbers of values before and after.

    Whole numbers may not merge, nor may numbers whose spread is below 10,000 steps of float32. Elsewhere some of many
    random numbers always do; more than 1 % and what randomness explains is refused.

    Args:
        x: finite numbers, [N, …], or NaN.
        rounded: x as float32.

    Returns:
        (place in an example, values before, values after), or None.
    """
    if not x.size or x.dtype.itemsize <= 2 or x.dtype == np.float32:
        return None
    x, rounded = x.reshape(len(x), -1), rounded.reshape(len(x), -1)
    rows = max(1, CHUNK // x.shape[1])
    inexact = np.zeros(x.shape[1], bool)
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        inexact |= ((np.abs(part) > WHOLE) | (rounded[start : start + rows] != part)).any(0)
    for place in np.flatnonzero(inexact).tolist():
        known = x[:, place] == x[:, place]
        found = _merged(x[known, place], rounded[known, place])
        if found is not None:
            return place, *found
    return None


def _merged(x: NDArray[Any], rounded: NDArray[np.float32]) -> tuple[int, int] | None:
    if not x.size:
        return None
    peak = float(np.abs(rounded).max())
    whole = x.dtype.kind in "iu" or bool((x == np.floor(x)).all())
    spread = float(np.std(x.astype(np.float64)))
    tight = float(np.spacing(np.float32(peak))) > 1e-4 * spread
    if not (tight or peak >= WHOLE):
        return None
    if not whole and spread <= 8 * np.spacing(peak):  # the rounding of float64 itself
        return None
    before, after = len(np.unique(x)), len(np.unique(rounded))
    allowed = 0 if whole or tight else 0.01 * before + before**2 / 2**22
    return (before, after) if before - after > allowed else None
