"""The table of Pareto fronts: Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from typing import Any

from fedmtl.analysis.fronts import FrontRow, fronts
from fedmtl.analysis.groups import Group, by_problem
from fedmtl.analysis.intervals import Estimate
from fedmtl.analysis.numbers import human_bytes, human_estimate, human_number
from fedmtl.analysis.report.numbers import to_csv
from fedmtl.analysis.report.tables import ReportTable, files
from fedmtl.core.markdown import table

NOTE = (
    "Costs of all training, and mean scores, over the seeds that count, with 95 % intervals from three seeds on; on "
    "the front is what no other experiment reaches for less."
)


def front_files(groups: Sequence[Group], target: float | None) -> dict[str, bytes]:
    """Return ``fronts`` in all formats, a table for each problem; nothing where no run counts."""
    every = {problem: fronts(some, target) for problem, some in by_problem(groups).items()}
    tables = [ReportTable(f"Score against cost on {problem}.", _markdown(rows), 2) for problem, rows in every.items()]
    records = [_record(row) for rows in every.values() for row in rows]
    return files("fronts", tables, to_csv(records)) if records else {}


def _markdown(rows: Sequence[FrontRow]) -> str:
    with_target = any(row.reached is not None for row in rows)
    head = ["cost", "experiment", "spent", "score", "seeds", *(["reached"] if with_target else []), "front"]
    lines = [
        [
            row.cost,
            row.name,
            _spent(row.cost, row.spent),
            human_estimate(row.score),
            f"{row.seeds}/{row.planned}",
            *([f"{row.reached}/{row.planned}"] if with_target else []),
            "front" if row.front else "",
        ]
        for row in rows
    ]
    return f"{table(head, lines, left=(0, 1))}\n{NOTE}\n"


def _spent(cost: str, value: Estimate) -> str:
    of = human_bytes if cost.startswith("bytes") else human_number
    return of(value.mean) + ("" if value.half is None else f" ± {of(value.half)}")


def _record(row: FrontRow) -> dict[str, Any]:
    return {
        "problem": row.problem,
        "cost": row.cost,
        "name": row.name,
        "spent_mean": row.spent.mean,
        "spent_ci95": row.spent.half,
        "score_mean": row.score.mean,
        "score_ci95": row.score.half,
        "seeds": row.seeds,
        "planned": row.planned,
        "reached": row.reached,
        "front": int(row.front),
    }
