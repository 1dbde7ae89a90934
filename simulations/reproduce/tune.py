"""Tuning on validation parts: an equal grid for every method of a table, and a choice that has seen no test example.

A study divides the examples that may be learnt from once more (``loaders.divide``), trains every setting of every
method on the first part, and takes the setting and the round with the best score on the second (``choose``). What is
chosen is then trained on all of them, and tested once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fedmtl import Experiment, run
from fedmtl.runs.result import Result

Curve = Mapping[int, float]
"""Round -> validation score, more is better."""


class Axis(NamedTuple):
    """One hyper-parameter of a method and its values."""

    field: str
    """The keyword of ``Method.make``."""
    values: tuple[float, ...]
    """Ascending."""
    bounds: tuple[float, ...] = ()
    """Values that end the axis by nature: the best may be there."""


@dataclass(frozen=True)
class Method:
    """A row of a table."""

    name: str
    make: Callable[..., Any]
    """Keywords of the axes -> algorithm."""
    axes: tuple[Axis, ...]

    def settings(self) -> list[dict[str, float]]:
        names = [axis.field for axis in self.axes]
        return [dict(zip(names, values, strict=True)) for values in product(*(axis.values for axis in self.axes))]


class Choice(NamedTuple):
    """The best setting of a method."""

    setting: dict[str, float]
    round: int
    """After which training stops."""
    score: float
    """On the validation part."""
    ends: tuple[str, ...]
    """Axes on whose end the best lies; empty where it is inside the grid."""

    def __str__(self) -> str:
        values = ", ".join(f"{field} {value:g}" for field, value in self.setting.items())
        ends = f"; at the grid's end: {', '.join(self.ends)}" if self.ends else ""
        return f"{values}, round {self.round}{ends}"


def steps(first: float, factor: float, count: int) -> tuple[float, ...]:
    """A geometric axis, rounded to three digits."""
    return tuple(float(f"{first * factor**k:.3g}") for k in range(count))


def run_to_the_end(experiment: Experiment) -> Result | None:
    """Return the result of a run, or None where training diverged: a model that is not finite is never sent."""
    try:
        return run(experiment)
    except (RuntimeError, ValueError) as error:
        if "finite" in str(error):
            return None
        raise


def by_client(result: Result) -> dict[str, dict[int, float]]:
    """Round, as text, but for 0 -> client -> the value of its one task; NaN where a diverged model has none."""
    found: dict[str, dict[int, float]] = {}
    for row in result.rows:
        if row["client"] is not None and row["round"] > 0:
            value = math.nan if row["value"] is None else row["value"]
            found.setdefault(str(row["round"]), {})[row["client"]] = value
    return found


def thinned(methods: Sequence[Method]) -> list[Method]:
    """Two settings a method: two rates from the middle, and one value from the middle of any other axis."""

    def middle(axis: Axis, count: int) -> Axis:
        first = (len(axis.values) - count) // 2
        return axis._replace(values=axis.values[first : first + count])

    return [replace(m, axes=(middle(m.axes[0], 2), *(middle(axis, 1) for axis in m.axes[1:]))) for m in methods]


def check_equal(methods: Sequence[Method]) -> int:
    """Return the number of settings that all methods have.

    Raises:
        ValueError: the methods have unlike numbers of settings.
    """
    counts = {method.name: len(method.settings()) for method in methods}
    if len(set(counts.values())) != 1:
        raise ValueError(f"Methods of one table are tuned on grids of one size, got {counts}; make them equal.")
    return next(iter(counts.values()))


def choose(method: Method, measure: Callable[[Any], Sequence[Curve]]) -> Choice:
    """Return the setting and the round with the best mean validation score; the first of equal ones.

    Args:
        method: with its grid.
        measure: algorithm -> a curve of each pilot, all with the same rounds. A score that is not finite, and a pilot
            without a curve, are a training that diverged, which is never chosen.

    Raises:
        ValueError: no setting has a finite score in every pilot.
    """
    best: tuple[float, dict[str, float], int] | None = None
    for setting in method.settings():
        curves = measure(method.make(**setting))
        for round in min(curves, key=len):
            score = float(np.mean([curve.get(round, -math.inf) for curve in curves]))
            if math.isfinite(score) and (best is None or score > best[0]):
                best = (score, setting, round)
    if best is None:
        raise ValueError(f"No setting of {method.name} trains; lower its rates, {method.axes[0].values}.")
    score, setting, round = best
    return Choice(setting, round, score, tuple(axis.field for axis in method.axes if _at_end(axis, setting)))


def _at_end(axis: Axis, setting: Mapping[str, float]) -> bool:
    value = setting[axis.field]
    return value in (axis.values[0], axis.values[-1]) and value not in axis.bounds


def choices_table(choices: Mapping[str, Choice]) -> str:
    """Markdown: each method's choice, and whether it lies inside its grid."""
    lines = ["| method | chosen on validation parts | validation score | inside its grid |", "|---|---|---|---|"]
    for name, choice in choices.items():
        values = ", ".join(f"{field} {value:g}" for field, value in choice.setting.items())
        inside = f"no: {', '.join(choice.ends)} at the end" if choice.ends else "yes"
        lines.append(f"| {name} | {values}, round {choice.round} | {choice.score:.4f} | {inside} |")
    return "\n".join(lines)
