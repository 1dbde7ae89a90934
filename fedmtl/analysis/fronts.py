"""Pareto fronts of experiments: score against bytes, and against simulated seconds and joules, over seeds."""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from fedmtl.analysis.groups import Group
from fedmtl.analysis.intervals import Estimate, estimate
from fedmtl.analysis.report.pareto import pareto
from fedmtl.analysis.runs import Run
from fedmtl.analysis.simulated import spent_at_end

COSTS = ("bytes", "bytes up", "bytes down", "simulated seconds", "simulated joules")

COLUMNS = {"bytes": "train_bytes", "seconds": "simulated_seconds", "joules": "simulated_joules"}
"""Cost of a trial -> its column in files."""


class FrontRow(NamedTuple):
    """An experiment against one cost."""

    problem: str
    cost: str
    """One of COSTS."""
    name: str
    spent: Estimate
    """Mean over the seeds that count, with its 95 % interval."""
    score: Estimate
    seeds: int
    """Seeds that count."""
    planned: int
    """Seeds in all; the others have failed, diverged or not finished, and are in no mean."""
    reached: int | None
    """Seeds that reached the target score, of those that count; None without a target."""
    front: bool
    """No other experiment has as good a mean score for less, or a better one for as little."""


def fronts(groups: Sequence[Group], target: float | None = None) -> list[FrontRow]:
    """Return a row for each cost and experiment, by cost; costs that no run has are left out.

    An experiment of which a seed has no number of a cost has no row of it.

    Args:
        groups: of one problem.
        target: mean score over tasks.
    """
    found: list[FrontRow] = []
    for cost in COSTS:
        rows: list[FrontRow] = []
        for group in groups:
            each = [_spent(run, cost) for run in group.finished]
            some = [value for value in each if value is not None]
            score = group.score()
            if not some or len(some) < len(each) or not isfinite(score.mean):
                continue
            reached = None if target is None else sum(run.bytes_to(target) is not None for run in group.finished)
            counts = len(some), len(group.runs)
            rows.append(FrontRow(group.problem, cost, group.name, estimate(some), score, *counts, reached, False))
        best = set(pareto([(row.spent.mean, row.score.mean) for row in rows]))
        rows = [row._replace(front=place in best) for place, row in enumerate(rows)]
        found += sorted(rows, key=lambda row: (row.spent.mean, -row.score.mean))
    return found


def _spent(run: Run, cost: str) -> float | None:
    """Return a run's cost to its end; None where it has no such number."""
    if cost.startswith("bytes"):
        return float(run.training_bytes(cost.removeprefix("bytes").strip() or None))
    spent = spent_at_end(run)
    return None if spent is None else getattr(spent, cost.removeprefix("simulated "))
