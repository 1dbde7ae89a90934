"""Simulated seconds and joules of runs: up to the result, and up to a score."""

from collections.abc import Sequence
from typing import NamedTuple

from fedmtl.analysis.runs import Run


class Spent(NamedTuple):
    """Numbers of the simulated clock."""

    seconds: float
    joules: float


def spent_by_round(run: Run) -> dict[int, Spent]:
    """Evaluated round -> what its model took; empty for a run without a clock."""
    rows = [row for row in run.rows if row["client"] is None and row["part"] == run.curve_part]
    some = [row for row in rows if row.get("simulated_seconds") is not None]
    return {row["round"]: Spent(row["simulated_seconds"], row["simulated_joules"]) for row in some}


def spent_at_end(run: Run) -> Spent | None:
    """Return what all rounds of a run took, or those so far; None without a clock."""
    found = spent_by_round(run)
    return found[max(found)] if found else None


def spent_to(run: Run, target: float) -> Spent | None:
    """Return what the first evaluated round took whose mean score is at least the target; None where there is none."""
    found, curve = spent_by_round(run), run.mean_score_curve()
    reached = [round for round, score in zip(curve.rounds, curve.values, strict=True) if score >= target]
    return found.get(reached[0]) if reached else None


def mean_spent(spent: Sequence[Spent | None]) -> Spent | None:
    """Return the mean over seeds; None where one has no number, which no mean can hold."""
    found = [one for one in spent if one is not None]
    if not found or len(found) < len(spent):
        return None
    return Spent(sum(one.seconds for one in found) / len(found), sum(one.joules for one in found) / len(found))
