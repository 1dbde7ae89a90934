"""Curves of a run, and the metric of a task."""

from math import isfinite, nan
from typing import NamedTuple


class Curve(NamedTuple):
    """A number over the evaluated rounds, with what the model had cost by then. Three lists of equal length."""

    rounds: list[int]
    bytes: list[int]
    """Training bytes, down and up, of all rounds up to and including this one; 0 at round 0."""
    values: list[float]
    """NaN where nothing was labelled, or where the model diverged (NaN or infinite)."""


class Metric(NamedTuple):
    """Metric of a task."""

    name: str
    higher_is_better: bool


def number(value: float | None) -> float:
    return value if value is not None and isfinite(value) else nan
