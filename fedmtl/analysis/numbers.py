"""Numbers of tables as texts."""

from math import floor, isfinite, log10

from fedmtl.analysis.intervals import Estimate

NOTHING = "–"


def human_bytes(count: float) -> str:
    """Bytes in decimal units, three digits: ``999 B``, ``1.23 kB`` (1 kB = 1000 B), ``45.6 MB``; ``–`` of NaN."""
    if not isfinite(count):
        return NOTHING
    if count < 999.5:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        # Half a unit of the last digit below the next power, or 999.96 kB would print as 1000 kB.
        if count < 999.5 or unit == "TB":
            break
    return f"{count:.{2 if count < 9.995 else 1 if count < 99.95 else 0}f} {unit}"


def human_estimate(value: Estimate) -> str:
    """``0.812 ± 0.004``, three decimals, or enough to show four digits; ``–`` where there is no number."""
    if not isfinite(value.mean):
        return NOTHING
    size = floor(log10(abs(value.mean))) if value.mean else 0
    decimals = 3 if -2 <= size <= 1 else max(0, 3 - size)
    half = "" if value.half is None else f" ± {value.half:.{decimals}f}"
    return f"{value.mean:.{decimals}f}{half}"


def human_number(value: float) -> str:
    """Three digits, or all before the point: ``0.0123``, ``4.56``, ``12300``; ``–`` where there is no number."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}" if isfinite(value) else NOTHING
