"""The table of a study: for each experiment what it reached, for how many bytes. As Markdown, and as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from math import isfinite, nan

import numpy as np

from fedmtl.analysis.floor import CONSTANT, floors_of
from fedmtl.analysis.groups import Group, by_problem
from fedmtl.analysis.intervals import Estimate, estimate
from fedmtl.analysis.numbers import NOTHING, human_bytes, human_estimate, human_number
from fedmtl.analysis.runs import Run
from fedmtl.analysis.simulated import mean_spent, spent_at_end, spent_to
from fedmtl.analysis.table_row import ExperimentRow
from fedmtl.analysis.unequal_work import passes_of, unequal_work
from fedmtl.core.markdown import cell, table

MAX_COLUMNS = 8
"""Most tasks with a column each in Markdown; with more, the CSV alone has them."""


def tabulate(groups: Iterable[Group], target: float | None = None) -> list[ExperimentRow]:
    """A row for each group, in order, and after those of a problem one of its best constants, where runs have them.

    Args:
        groups: what ``group_runs`` gives.
        target: the mean score over tasks for which to count the bytes that it took.
    """
    rows = []
    for together in by_problem(groups).values():
        rows += [_row(group, target) for group in together]
        rows += _constant_row(together, target)
    return rows


def markdown(rows: Sequence[ExperimentRow]) -> str:
    """The rows as a Markdown table; one table for each problem, under its name, when there are several."""
    problems: dict[str, list[ExperimentRow]] = {}
    for row in rows:
        problems.setdefault(row.problem, []).append(row)
    tables = {problem: _markdown_table(own) for problem, own in problems.items()}
    if len(tables) == 1:
        return next(iter(tables.values()))
    return "\n".join(f"**{cell(problem)}**\n\n{text}" for problem, text in tables.items())


def record(row: ExperimentRow) -> dict[str, str | int | float | None]:
    """The row as one flat record, for CSV and JSON: exact bytes, numbers in full, None where there is none."""
    flat: dict[str, str | int | float | None] = {
        "problem": row.problem,
        "name": row.name,
        "label": row.label,
        "seeds": " ".join(map(str, row.seeds)),
        "rounds": " ".join(map(str, row.rounds)),
        "local_passes": row.passes,
        "counted": row.counted,
        "failures": row.status if row.failures else "",
        "score_mean": _finite(row.score.mean),
        "score_ci95": row.score.half,
        "train_down_bytes": _exact(row.down_bytes),
        "train_up_bytes": _exact(row.up_bytes),
        "train_bytes": _exact(row.training_bytes),
        "evaluate_bytes": _exact(row.evaluation_bytes),
        "target_score": row.target,
        "target_reached_by_seeds": None if row.target is None else row.reached,
        "bytes_to_target": None if row.bytes_to_target is None else _exact(row.bytes_to_target),
    }
    for name, spent in (("simulated_{}", row.simulated), ("simulated_{}_to_target", row.simulated_to_target)):
        if spent is not None:
            flat |= {name.format("seconds"): spent.seconds, name.format("joules"): spent.joules}
    if row.train_loss is not None:
        flat |= {"train_loss_mean": _finite(row.train_loss.mean), "train_loss_ci95": row.train_loss.half}
    for task, value in row.values.items():
        metric = f"{task}_{row.metrics[task].name}"
        flat |= {f"{metric}_mean": _finite(value.mean), f"{metric}_ci95": value.half}
    return flat


def to_csv(rows: Sequence[ExperimentRow]) -> str:
    """The rows as CSV: a header, then ``record`` of each; empty where a row has no such number."""
    records = [record(row) for row in rows]
    columns = list(dict.fromkeys(key for flat in records for key in flat))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _row(group: Group, target: float | None) -> ExperimentRow:
    runs = group.finished
    to_target = [] if target is None else [run.bytes_to(target) for run in runs]
    reached = [count for count in to_target if count is not None]
    return ExperimentRow(
        problem=group.problem,
        name=group.name,
        label=group.label,
        seeds=group.seeds,
        failures=group.failures,
        rounds=tuple(-1 if run.last_round is None else run.last_round for run in group.runs),
        passes=passes_of(group.runs),
        batch_size=group.runs[0].experiment.get("batch_size"),
        metrics=group.metrics,
        values={task: group.value(task) for task in group.metrics},
        score=group.score(),
        train_loss=_train_loss(runs),
        down_bytes=_mean([run.training_bytes("down") for run in runs]),
        up_bytes=_mean([run.training_bytes("up") for run in runs]),
        evaluation_bytes=_mean([run.evaluation_bytes() for run in runs]),
        target=target,
        reached=len(reached),
        bytes_to_target=_mean(reached) if reached and len(reached) == len(runs) else None,
        simulated=mean_spent([spent_at_end(run) for run in runs]),
        simulated_to_target=None if target is None else mean_spent([spent_to(run, target) for run in runs]),
    )


def _constant_row(groups: Sequence[Group], target: float | None) -> list[ExperimentRow]:
    floors = floors_of(groups)
    if not floors:
        return []
    metrics = {task: metric for group in groups for task, metric in group.metrics.items()}
    return [
        ExperimentRow(
            problem=groups[0].problem,
            name=CONSTANT,
            label="the best constant of each task, from the training labels of all clients",
            seeds=tuple(floors),
            failures=(),
            rounds=(),
            passes=None,
            batch_size=None,
            metrics=metrics,
            values={task: estimate([floor.values[task] for floor in floors.values()]) for task in metrics},
            score=estimate([floor.score for floor in floors.values()]),
            train_loss=None,
            down_bytes=nan,
            up_bytes=nan,
            evaluation_bytes=nan,
            target=target,
            reached=0,
            bytes_to_target=None,
        )
    ]


def _train_loss(runs: Sequence[Run]) -> Estimate | None:
    last = [list(run.train_losses().values())[-1:] for run in runs]
    return estimate([loss for (loss,) in last]) if last and all(last) else None


def _mean(counts: Sequence[int]) -> float:
    return float(np.mean(counts)) if counts else nan


def _markdown_table(rows: Sequence[ExperimentRow]) -> str:
    metrics = {task: metric for row in rows for task, metric in row.metrics.items()}
    shown = metrics if len(metrics) <= MAX_COLUMNS else {}
    header = ["experiment", "seeds", "local passes", "mean score ↑"]
    header += [f"{task}: {m.name} {'↑' if m.higher_is_better else '↓'}" for task, m in shown.items()]
    losses = any(row.train_loss is not None for row in rows)
    header += ["training loss ↓"] * losses + ["training down", "training up", "training total", "evaluation"]
    clock = any(row.simulated is not None for row in rows)
    header += ["simulated seconds", "simulated joules"] * clock
    target = next((row.target for row in rows if row.target is not None), None)
    if target is not None:
        header += [f"to score {target:g}", *[f"simulated, to score {target:g}"] * clock]
    lines = []
    for row in rows:
        passes = NOTHING if row.passes is None else str(row.passes)
        seeds = row.status if row.failures else str(len(row.seeds))
        cells = [row.name, seeds, passes, human_estimate(row.score)]
        cells += [human_estimate(row.values.get(task, Estimate(nan, None))) for task in shown]
        cells += [human_estimate(row.train_loss or Estimate(nan, None))] * losses
        cells += map(human_bytes, (row.down_bytes, row.up_bytes, row.training_bytes, row.evaluation_bytes))
        if clock:
            cells += [NOTHING] * 2 if row.simulated is None else map(human_number, row.simulated)
        if target is not None:
            cells += [_to_target(row), *[_simulated_to_target(row)] * clock]
        lines.append(cells)
    return table(header, lines) + unequal_work(rows)


def _to_target(row: ExperimentRow) -> str:
    if row.bytes_to_target is not None:
        return human_bytes(row.bytes_to_target)
    return f"{NOTHING} ({row.reached} of {row.counted} seeds)" if row.reached else NOTHING


def _simulated_to_target(row: ExperimentRow) -> str:
    if row.simulated_to_target is None:
        return NOTHING
    seconds, joules = map(human_number, row.simulated_to_target)
    return f"{seconds} s, {joules} J"


def _exact(count: float) -> int | float | None:
    return int(count) if count.is_integer() else _finite(count)


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None
