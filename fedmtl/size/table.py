"""What small models cost as a table: for people, as CSV and as JSON."""

import csv
import io
import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmtl.federation.rows import Row, mean_score, rows
from fedmtl.study.table import MAX_COLUMNS, NOTHING, human_bytes

if TYPE_CHECKING:  # which imports the runtimes, that a report of finished tables does not need
    from fedmtl.size.shrink import Shrunk, Small

COLUMNS = ("form", "client", "task", "metric", "value", "score", "higher_is_better", "examples", "bytes")
"""Of the CSV. ``bytes`` is the length of the client's file, which serves all its tasks; without a client, the mean."""


def summary(shrunk: "Shrunk") -> dict[str, Any]:
    """The content of ``size.json``: for each form its bytes, scores and tasks."""
    return {
        "rounds": shrunk.smalls[0].measured.round,
        "clients": len(shrunk.smalls[0].bytes),
        "left_out": sorted(shrunk.absent),
        "forms": {small.form.name: _form(shrunk, small) for small in shrunk.smalls},
    }


def _form(shrunk: "Shrunk", small: "Small") -> dict[str, Any]:
    dense = shrunk.smalls[0]
    score = mean_score(shrunk.tasks, small.measured)
    total = sum(small.bytes.values())
    return {
        "bytes": total,
        "bytes_per_client": total / len(small.bytes),
        "times_smaller": sum(dense.bytes.values()) / total,
        "mean_score": score if isfinite(score) else None,
        "tasks": {row["task"]: _task(small, row) for row in _rows(shrunk, small) if row["client"] is None},
    }


def _task(small: "Small", row: Row) -> dict[str, Any]:
    kept = {key: row[key] for key in ("metric", "value", "score", "higher_is_better", "examples")}
    return {**kept, "bytes_per_client": _mean_bytes(small, row["task"])}


def _mean_bytes(small: "Small", task: str) -> float:
    """Of the models of the clients that own the task."""
    return float(np.mean([small.bytes[client] for client in small.measured.sums[task][0].tolist()]))


def _rows(shrunk: "Shrunk", small: "Small") -> list[Row]:
    return list(rows(shrunk.tasks, small.measured))


def to_csv(shrunk: "Shrunk") -> str:
    """A row for each form, client and task, and for each form and task over all clients' test examples."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for small in shrunk.smalls:
        for row in _rows(shrunk, small):
            client = row["client"]
            size = _mean_bytes(small, row["task"]) if client is None else small.bytes[client]
            values: Row = {**row, "form": small.form.name, "bytes": size}
            writer.writerow({column: values[column] for column in COLUMNS})
    return text.getvalue()


def markdown(summary: dict[str, Any]) -> str:
    """``cells`` as a Markdown table."""
    header, *rows = cells(summary)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(summary: dict[str, Any]) -> list[list[str]]:
    """The header, and a row for each form of a ``summary``: the mean file, the mean score, and each task's metric.

    With more than ``MAX_COLUMNS`` tasks, the CSV alone has them.
    """
    forms = summary["forms"]
    tasks = next(iter(forms.values()))["tasks"]
    shown = tasks if len(tasks) <= MAX_COLUMNS else {}
    header = ["form", "bytes a client", "times smaller", "mean score ↑"]
    header += [f"{name}: {task['metric']} {'↑' if task['higher_is_better'] else '↓'}" for name, task in shown.items()]
    lines = [header]
    for name, form in forms.items():
        first = [name, human_bytes(form["bytes_per_client"]), f"{form['times_smaller']:.2f}"]
        lines.append([*first, *map(_number, (form["mean_score"], *(form["tasks"][task]["value"] for task in shown)))])
    return lines


def read_markdown(path: Path) -> str:
    """``markdown`` of a ``size.json``.

    Raises:
        ValueError: a file that ``fedmtl shrink`` does not write; the message names it.
    """
    try:
        return markdown(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not what fedmtl shrink writes ({reason}); delete it, or shrink again.") from None


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
