"""The best constants: what a task scores without a model, as the runs' summaries say.

A summary's ``floors`` gives, for each task, the metric over all test examples of the one output that fits the training
labels of all clients best: the most frequent class, the mean. It depends on the data and the seed, and on no method.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any, NamedTuple

from fedmtl.analysis.groups import Group
from fedmtl.analysis.runs import Run

CONSTANT = "constant guess"
"""The name of the row."""


class Floor(NamedTuple):
    """The best constants of one seed."""

    values: Mapping[str, float]
    """Task -> its metric; NaN where nothing is labelled."""
    score: float
    """Mean score over the labelled tasks."""


def floors_of(groups: Sequence[Group]) -> dict[int, Floor]:
    """Seed -> its best constants, ascending, of the first run on the data that has them; empty where none has."""
    found: dict[int, Floor] = {}
    for run in (run for group in groups for run in group.finished):
        floors = run.summary.get("floors")
        if run.seed not in found and isinstance(floors, Mapping) and floors:
            found[run.seed] = _floor(run, floors)
    return dict(sorted(found.items()))


def _floor(run: Run, floors: Mapping[str, Any]) -> Floor:
    def number(task: str, key: str) -> float:
        value = floors[task].get(key) if isinstance(floors.get(task), Mapping) else None
        return float(value) if isinstance(value, int | float) and isfinite(value) else nan

    scores = [score for task in run.metrics if isfinite(score := number(task, "score"))]
    return Floor({task: number(task, "value") for task in run.metrics}, sum(scores) / len(scores) if scores else nan)
