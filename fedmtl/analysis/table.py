"""The table of a study: for each experiment what it reached, for how many bytes. As Markdown, and as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10, nan

import numpy as np

from fedmtl.algorithms.common.work import local_passes
from fedmtl.analysis.floor import CONSTANT, floors_of
from fedmtl.analysis.groups import Group, SeedFailure, by_problem, status
from fedmtl.analysis.intervals import Estimate, estimate
from fedmtl.analysis.runs import Metric, Run
from fedmtl.core.markdown import cell, table

MAX_COLUMNS = 8
"""Most tasks with a column each in Markdown; with more, the CSV alone has them."""

NOTHING = "–"


@dataclass(frozen=True)
class Row:
    """One experiment: means over the seeds that have finished and have not diverged, NaN where there is none.

    Bytes are means too, of whole runs, over all clients. The row of the best constants has no bytes.
    """

    problem: str
    name: str
    """Short, as in ``Group``."""
    label: str
    """In full."""
    seeds: tuple[int, ...]
    """All, also of runs that do not count."""
    failures: tuple[SeedFailure, ...]
    """The runs that do not count."""
    rounds: tuple[int, ...]
    """The last evaluated round of each seed; −1 where there is none."""
    passes: int | None
    """Local work: a client's passes over its examples, with gradients, in a round; None where that is not known."""
    batch_size: int | None
    """Examples a step; None for all of a client's."""
    metrics: Mapping[str, Metric]
    values: Mapping[str, Estimate]
    """Task -> its metric over all clients at the last round."""
    score: Estimate
    """Mean score over tasks: more is better, 1 is perfect."""
    down_bytes: float
    """Training bytes."""
    up_bytes: float
    evaluation_bytes: float
    target: float | None
    """The mean score that was asked for."""
    reached: int
    """Number of the seeds that count and reached the target."""
    bytes_to_target: float | None
    """Training bytes until then; None where a seed never came there, whose bytes no mean can hold."""

    @property
    def counted(self) -> int:
        """Number of seeds behind the means."""
        return len(self.seeds) - len(self.failures)

    @property
    def status(self) -> str:
        """As in ``Group``: ``2 of 3 seeds · 1 diverged at round 12``."""
        return status(len(self.seeds), self.failures)

    @property
    def training_bytes(self) -> float:
        """Both directions."""
        return self.down_bytes + self.up_bytes


def tabulate(groups: Iterable[Group], target: float | None = None) -> list[Row]:
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


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; one table for each problem, under its name, when there are several."""
    problems: dict[str, list[Row]] = {}
    for row in rows:
        problems.setdefault(row.problem, []).append(row)
    tables = {problem: _markdown_table(own) for problem, own in problems.items()}
    if len(tables) == 1:
        return next(iter(tables.values()))
    return "\n".join(f"**{cell(problem)}**\n\n{text}" for problem, text in tables.items())


def record(row: Row) -> dict[str, str | int | float | None]:
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
    for task, value in row.values.items():
        metric = f"{task}_{row.metrics[task].name}"
        flat |= {f"{metric}_mean": _finite(value.mean), f"{metric}_ci95": value.half}
    return flat


def to_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV: a header, then ``record`` of each; empty where a row has no such number."""
    records = [record(row) for row in rows]
    columns = list(dict.fromkeys(key for flat in records for key in flat))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


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


def _row(group: Group, target: float | None) -> Row:
    runs = group.finished
    to_target = [] if target is None else [run.bytes_to(target) for run in runs]
    reached = [count for count in to_target if count is not None]
    return Row(
        problem=group.problem,
        name=group.name,
        label=group.label,
        seeds=group.seeds,
        failures=group.failures,
        rounds=tuple(-1 if run.last_round is None else run.last_round for run in group.runs),
        passes=_passes(group.runs),
        batch_size=group.runs[0].experiment.get("batch_size"),
        metrics=group.metrics,
        values={task: group.value(task) for task in group.metrics},
        score=group.score(),
        down_bytes=_mean([run.training_bytes("down") for run in runs]),
        up_bytes=_mean([run.training_bytes("up") for run in runs]),
        evaluation_bytes=_mean([run.evaluation_bytes() for run in runs]),
        target=target,
        reached=len(reached),
        bytes_to_target=_mean(reached) if reached and len(reached) == len(runs) else None,
    )


def _constant_row(groups: Sequence[Group], target: float | None) -> list[Row]:
    floors = floors_of(groups)
    if not floors:
        return []
    metrics = {task: metric for group in groups for task, metric in group.metrics.items()}
    return [
        Row(
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
            down_bytes=nan,
            up_bytes=nan,
            evaluation_bytes=nan,
            target=target,
            reached=0,
            bytes_to_target=None,
        )
    ]


def _mean(counts: Sequence[int]) -> float:
    return float(np.mean(counts)) if counts else nan


def _markdown_table(rows: Sequence[Row]) -> str:
    metrics = {task: metric for row in rows for task, metric in row.metrics.items()}
    shown = metrics if len(metrics) <= MAX_COLUMNS else {}
    header = ["experiment", "seeds", "local passes", "mean score ↑"]
    header += [f"{task}: {m.name} {'↑' if m.higher_is_better else '↓'}" for task, m in shown.items()]
    header += ["training down", "training up", "training total", "evaluation"]
    target = next((row.target for row in rows if row.target is not None), None)
    if target is not None:
        header.append(f"to score {target:g}")
    lines = []
    for row in rows:
        passes = NOTHING if row.passes is None else str(row.passes)
        seeds = row.status if row.failures else str(len(row.seeds))
        cells = [row.name, seeds, passes, human_estimate(row.score)]
        cells += [human_estimate(row.values.get(task, Estimate(nan, None))) for task in shown]
        cells += map(human_bytes, (row.down_bytes, row.up_bytes, row.training_bytes, row.evaluation_bytes))
        lines.append(cells if target is None else [*cells, _to_target(row)])
    return table(header, lines) + unequal_work(rows)


def unequal_work(rows: Sequence[Row]) -> str:
    """A line for below a table whose experiments do unequal local work; empty where they do not."""
    rows = [row for row in rows if row.name != CONSTANT]
    work = {(row.passes, row.batch_size) for row in rows}
    if len(work) < 2:
        return ""
    sizes = {row.batch_size for row in rows}
    said: dict[str, list[str]] = {}
    for row in rows:
        passes = (
            "an unknown number of passes" if row.passes is None else f"{row.passes} pass{'es'[: 2 * (row.passes != 1)]}"
        )
        batches = f" in batches of {row.batch_size or 'all its examples'}" if len(sizes) > 1 else ""
        said.setdefault(passes + batches, []).append(cell(row.name))
    each = "; ".join(f"{work} with {', '.join(names)}" for work, names in said.items())
    return f"\nLocal work differs, and scores with it: in a round a client takes {each}.\n"


def _passes(runs: Sequence[Run]) -> int | None:
    """As the runs' summaries say; of runs that have none, by the experiment's table."""
    said = [run.summary["local_passes"] for run in runs if "local_passes" in run.summary]
    return said[0] if said else local_passes(runs[0].experiment["algorithm"])


def _to_target(row: Row) -> str:
    if row.bytes_to_target is not None:
        return human_bytes(row.bytes_to_target)
    return f"{NOTHING} ({row.reached} of {row.counted} seeds)" if row.reached else NOTHING


def _exact(count: float) -> int | float | None:
    return int(count) if count.is_integer() else _finite(count)


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None
