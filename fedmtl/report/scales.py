"""Where the axes begin and end, and what their ticks say."""

from collections.abc import Sequence
from math import log10

import numpy as np

from fedmtl.study.table import human_bytes


def value_limits(curves: Sequence[Sequence[float]]) -> tuple[float | None, float | None]:
    """Ends of the y axis for curves over rounds; (None, None) when the axis may choose for itself.

    An untrained model can be so far off that its distance hides all that comes later. When all rounds span
    more than 2.5 times what the last three quarters of them span, the axis shows half a span around these.
    """
    drawn = np.concatenate([np.asarray(curve, float) for curve in curves])
    late = np.concatenate([np.asarray(curve[len(curve) // 4 :], float) for curve in curves])
    drawn, late = drawn[np.isfinite(drawn)], late[np.isfinite(late)]
    span = float(np.ptp(late)) if late.size else 0.0
    if span == 0 or np.ptp(drawn) <= 2.5 * span:
        return None, None
    low, high = float(late.min()), float(late.max())
    return max(low - span / 2, float(drawn.min()) - span / 20), min(high + span / 2, float(drawn.max()) + span / 20)


def left_end(scores: Sequence[np.ndarray]) -> float | None:
    """Where the axis of client scores begins; None when it may choose for itself.

    Scores have no lower bound, and one client's can make all others look alike: the axis begins three
    interquartile ranges below the lowest of the groups' first quartiles when a score lies further left.
    """
    if not scores:
        return None
    quartiles = [np.quantile(values, [0.25, 0.75]) for values in scores]
    fence = min(float(q1 - 3 * (q3 - q1)) for q1, q3 in quartiles)
    return fence if min(float(values.min()) for values in scores) < fence else None


def tick_digits(low: float, high: float) -> tuple[float, ...]:
    """Leading digits of the ticks of a logarithmic axis: in two decades, powers of ten alone would be one or none."""
    decades = log10(high / low)
    return (1, 1.5, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.5 else (1,)


def tick_label(count: float) -> str:
    """Bytes without idle zeros: ``1.5 MB``, ``10 kB``."""
    number, unit = human_bytes(count).split()
    return f"{float(number):g} {unit}"
