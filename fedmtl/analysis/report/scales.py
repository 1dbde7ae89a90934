"""Limits of the axes, and the texts of their ticks."""

from collections.abc import Sequence
from math import floor, isfinite, log10

import numpy as np

from fedmtl.analysis.numbers import human_bytes


def value_limits(
    curves: Sequence[Sequence[float]], halves: Sequence[Sequence[float] | None] = ()
) -> tuple[float | None, float | None]:
    """Ends of the y axis for curves over rounds; (None, None) when there is nothing to go by.

    An untrained model can be so far off that its distance hides all that comes later. When all rounds span
    more than 2.5 times what the last three quarters of them span, the axis shows half a span around these. Intervals of
    few seeds can be wide: the axis shows as much of them as a third of the span, at either end.
    """
    drawn = np.concatenate([np.asarray(curve, float) for curve in curves]) if curves else np.empty(0)
    late = np.concatenate([_late(curve) for curve in curves]) if curves else np.empty(0)
    drawn, late = drawn[np.isfinite(drawn)], late[np.isfinite(late)]
    span = float(np.ptp(late)) if late.size else 0.0
    if span == 0:
        return None, None
    low, high = float(drawn.min()), float(drawn.max())
    if high - low > 2.5 * span:
        low = max(float(late.min()) - span / 2, low)
        high = min(float(late.max()) + span / 2, high)
    third, edge = (high - low) / 3, (high - low) / 25
    bands = [
        (mean - half, mean + half)
        for curve, own in zip(curves, halves, strict=False)
        for mean, half in zip(_late(curve), _late(own or []), strict=False)
        if isfinite(mean) and isfinite(half)
    ]
    lowest = min([low, *(band[0] for band in bands)])
    highest = max([high, *(band[1] for band in bands)])
    return max(low - third, lowest) - edge, min(high + third, highest) + edge


def point_limits(
    scores: Sequence[float], halves: Sequence[float | None], target: float | None = None
) -> tuple[float, float]:
    """Ends of the y axis for points with intervals, of which it shows as much as half the points' span at either end.

    A target counts as a point, unless it lies further off than all points or an interval span.
    """
    low, high = min(scores), max(scores)
    # Points on one line show their intervals, or a fiftieth of their height.
    least = max(0.02 * max(abs(low), abs(high)), 1e-6, min((half for half in halves if half is not None), default=0.0))
    if target is not None and low - max(high - low, least) <= target <= high + max(high - low, least):
        low, high = min(low, target), max(high, target)
    least = max(high - low, least)
    ends = [(score - half, score + half) for score, half in zip(scores, halves, strict=True) if half is not None]
    bottom = max(min([low, *(end[0] for end in ends)]), low - least / 2)
    top = min(max([high, *(end[1] for end in ends)]), high + least / 2)
    return bottom - least / 8, top + least / 8


def _late(curve: Sequence[float]) -> np.ndarray:
    """The last three quarters."""
    return np.asarray(curve[len(curve) // 4 :], float)


def left_end(scores: Sequence[np.ndarray]) -> float | None:
    """Return the lower end of the axis of client scores; None when matplotlib may choose it.

    Scores have no lower bound, and one client's can make all others look alike: the axis begins three
    interquartile ranges below the lowest of the groups' first quartiles when a score lies further left.
    """
    if not scores:
        return None
    quartiles = [np.quantile(values, [0.25, 0.75]) for values in scores]
    fence = min(float(q1 - 3 * (q3 - q1)) for q1, q3 in quartiles)
    return fence if min(float(values.min()) for values in scores) < fence else None


_DIGITS: tuple[tuple[float, ...], ...] = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))


def tick_digits(low: float, high: float, most: int = 8) -> tuple[float, ...]:
    """Leading digits of the ticks of a logarithmic axis: those it has room for, and two at least if they can be.

    In two decades, powers of ten alone would be one or none.
    """
    for digits in _DIGITS:
        if _ticks(low, high, digits) <= most:
            break
    else:
        return (1,)
    return digits if _ticks(low, high, digits) >= 2 else _DIGITS[max(0, _DIGITS.index(digits) - 1)]


def _ticks(low: float, high: float, digits: Sequence[float]) -> int:
    powers = range(floor(log10(low)), floor(log10(high)) + 1)
    return sum(low <= digit * 10.0**power <= high for power in powers for digit in digits)


def tick_label(count: float) -> str:
    """Bytes without idle zeros: ``1.5 MB``, ``10 kB``."""
    number, unit = human_bytes(count).split()
    return f"{float(number):g} {unit}"
