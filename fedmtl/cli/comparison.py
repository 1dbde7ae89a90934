"""The end of a comparison on the terminal: one table, and the differences in words."""

import sys
from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING

import typer

from fedmtl.core.terminal import columns, wrapped
from fedmtl.core.text_table import TextColumn, fitted

if TYPE_CHECKING:
    from fedmtl.analysis.groups import Group
    from fedmtl.analysis.table_row import ExperimentRow
    from fedmtl.runs.run_failure import Failure


def print_not_counted(failures: Mapping[str, "Failure"]) -> None:
    """Print a line on standard error for each run that does not count, by its name."""
    for name, failure in failures.items():
        text = f"not counted: {name}, {failure.state} at round {failure.round}: {failure.reason}"
        typer.echo(wrapped(text, columns(sys.stderr), "  "), err=True)


def comparison_text(groups: Sequence["Group"], target: float | None, width: int) -> str:
    """A table for each problem, and a line for each difference; the report in the folder has more.

    Args:
        groups: runs of one experiment together.
        target: the mean score over tasks whose bytes a column gives.
        width: of the terminal.
    """
    from fedmtl.analysis.differences import verdicts
    from fedmtl.analysis.table import tabulate

    problems: dict[str, list[ExperimentRow]] = {}
    for row in tabulate(groups, target):
        problems.setdefault(row.problem, []).append(row)
    parts = [_table(problem if len(problems) > 1 else "", rows, width) for problem, rows in problems.items()]
    lines = [wrapped(line.replace("**", "").replace("`", ""), width, "  ") for line in verdicts(groups)]
    return "\n\n".join([*parts, *(["\n".join(lines)] if lines else [])])


def _table(title: str, rows: Sequence["ExperimentRow"], width: int) -> str:
    from fedmtl.analysis.intervals import Estimate
    from fedmtl.analysis.numbers import human_bytes, human_estimate

    def size(count: float) -> str:
        return human_bytes(count) if count == count else "–"

    metrics = {task: metric for row in rows for task, metric in row.metrics.items()}
    columns = [
        TextColumn("experiment", [f"{row.name} ({row.status})" if row.failures else row.name for row in rows]),
        TextColumn("mean score ↑", [human_estimate(row.score) for row in rows]),
        TextColumn("training bytes", [size(row.training_bytes) for row in rows], 1),
    ]
    asked = next((row.target for row in rows if row.target is not None), None)
    if asked is not None:
        reached = ["–" if row.bytes_to_target is None else human_bytes(row.bytes_to_target) for row in rows]
        columns.append(TextColumn(f"bytes to {asked:g}", reached, 1))
    columns.append(TextColumn("seeds", [str(len(row.seeds)) if row.seeds else "" for row in rows], 2))
    for rank, (task, metric) in enumerate(metrics.items(), 4):
        arrow = "↑" if metric.higher_is_better else "↓"
        values = [human_estimate(row.values.get(task, Estimate(nan, None))) for row in rows]
        columns.append(TextColumn(f"{task}: {metric.name} {arrow}", values, rank))
    columns.append(TextColumn("evaluation bytes", [size(row.evaluation_bytes) for row in rows], 3))
    found = fitted(columns, width)
    text = f"{wrapped(title, width)}\n{found.text}" if title else found.text
    if found.left_out:
        text += "\n" + wrapped(f"Also in table.csv: {', '.join(found.left_out)}.", width)
    return text
