"""Cost of small models as CSV and as JSON."""

import csv
import io
from math import isfinite
from typing import Any

import numpy as np

from fedmtl.core.file_format import FORMAT
from fedmtl.export.shrink import Shrunk, Small
from fedmtl.runs.columns import Row, round_score, rows

NUMBERS = ("metric", "value", "score", "higher_is_better", "examples", "bytes")

COLUMNS = ("format", "client", "task", *NUMBERS, "file_format")
"""Columns of the CSV. ``bytes`` is the length of the client's file, for all its tasks; without a client, the mean.
``format`` is the small model's, ``file_format`` the CSV's."""


def summary(shrunk: Shrunk) -> dict[str, Any]:
    """The content of ``size.json``: for each format its bytes, scores and tasks."""
    return {
        "format": FORMAT,
        "rounds": shrunk.smalls[0].measured.round,
        "clients": len(shrunk.smalls[0].bytes),
        "left_out": sorted(shrunk.absent),
        "formats": {small.format.name: _format(shrunk, small) for small in shrunk.smalls},
    }


def _format(shrunk: Shrunk, small: Small) -> dict[str, Any]:
    dense = shrunk.smalls[0]
    score = round_score(shrunk.tasks, small.measured)
    total = sum(small.bytes.values())
    return {
        "bytes": total,
        "bytes_per_client": total / len(small.bytes),
        "times_smaller": sum(dense.bytes.values()) / total,
        "mean_score": score if isfinite(score) else None,
        "tasks": {row["task"]: _task(small, row) for row in _rows(shrunk, small) if row["client"] is None},
    }


def _task(small: Small, row: Row) -> dict[str, Any]:
    kept = {key: row[key] for key in ("metric", "value", "score", "higher_is_better", "examples")}
    return {**kept, "bytes_per_client": _mean_bytes(small, row["task"])}


def _mean_bytes(small: Small, task: str) -> float:
    """Mean file length over the clients that own the task."""
    return float(np.mean([small.bytes[client] for client in small.measured.sums[task][0].tolist()]))


def _rows(shrunk: Shrunk, small: Small) -> list[Row]:
    return list(rows(shrunk.tasks, small.measured))


def to_csv(shrunk: Shrunk) -> str:
    """A row for each format, client and task, and for each format and task over all clients' test examples."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for small in shrunk.smalls:
        for row in _rows(shrunk, small):
            client = row["client"]
            size = _mean_bytes(small, row["task"]) if client is None else small.bytes[client]
            values: Row = {**row, "format": small.format.name, "bytes": size, "file_format": FORMAT}
            writer.writerow({column: values[column] for column in COLUMNS})
    return text.getvalue()
