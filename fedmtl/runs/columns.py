"""Measurements as rows: columns while a run goes on and on disk, a dict a row when it is asked for."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.server.round_result import ClientMetrics
from fedmtl.tables.blocks import Block, blocks_of
from fedmtl.tables.columns import Column, pack_column, unpack_column
from fedmtl.tables.mean_score import mean_score
from fedmtl.tables.schemas import ALL_CLIENTS, METRICS, TEST, Row
from fedmtl.tables.schemas import rows as rows_of
from fedmtl.tasks.base import Task


class RoundMetrics(NamedTuple):
    """All that was measured of the model after ``round`` rounds."""

    round: int
    sums: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
    """Task -> clients, ascending, [K] int64, and the statistics of its metric, [K, s] float64; sorted by task."""
    trained: NDArray[Any]
    """Clients that trained in that round, ascending, [T] int64."""
    seconds: NDArray[Any]
    """Their training seconds, [T] float64."""
    part: str = TEST
    """The part of the clients' examples: test or valid."""
    spent: tuple[float, float] | None = None
    """Simulated seconds and joules up to this model; None without a clock."""


def by_task(
    measurements: Sequence[ClientMetrics],
    trained: NDArray[Any],
    seconds: NDArray[Any],
    spent: tuple[float, float] | None = None,
) -> RoundMetrics | None:
    """The same for any order and grouping of the measurements; None when there are none."""
    parts: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {}
    for measurement in measurements:
        for task, sums in measurement.sums.items():
            parts.setdefault(task, []).append((measurement.clients, sums))
    if not parts:
        return None
    merged = {}
    for task, some in sorted(parts.items()):
        clients = np.concatenate([clients for clients, _ in some])
        order = np.argsort(clients, kind="stable")
        # In one layout, because the order in which floats are added up depends on it.
        merged[task] = clients[order], np.ascontiguousarray(np.concatenate([sums for _, sums in some])[order])
    return RoundMetrics(measurements[0].round, merged, trained, seconds, measurements[0].part, spent)


def pooled(measured: RoundMetrics) -> dict[str, NDArray[Any]]:
    """Task -> statistics over all clients' examples, [s]."""
    return {task: sums.sum(0) for task, (_, sums) in measured.sums.items()}


def round_score(tasks: Mapping[str, Task], measured: RoundMetrics) -> float:
    """Return the mean score over tasks, over all clients; a task without a labelled example does not count."""
    return mean_score(tasks[task].score(sums) for task, sums in pooled(measured).items() if sums[0] > 0)


def digest(before: str, measured: RoundMetrics) -> str:
    """SHA-256 of the digest before (its 32 bytes, at first none) and of what was measured, but for the seconds.

    That is the round as a little-endian int64, and for each task its name, a zero byte, the number of clients as
    int64, the clients, and their statistics as float64, row by row. The name of a part other than test follows.
    """
    sha = hashlib.sha256(bytes.fromhex(before) + np.int64(measured.round).astype("<i8").tobytes())
    for task, (clients, sums) in measured.sums.items():
        sha.update(task.encode() + b"\0" + np.concatenate([[len(clients)], clients]).astype("<i8").tobytes())
        # A NaN has many bit patterns, and which one comes out depends on the processor.
        sha.update(np.where(np.isnan(sums), np.nan, sums).astype("<f8").tobytes())
    if measured.part != TEST:
        sha.update(measured.part.encode())
    return sha.hexdigest()


def rows(tasks: Mapping[str, Task], measured: RoundMetrics) -> Iterator[Row]:
    """Each client's metric of each of its tasks, by client and task, then each task's over all clients' examples."""
    return rows_of(METRICS, iter(blocks(tasks, measured)))


def blocks(tasks: Mapping[str, Task], measured: RoundMetrics) -> list[Block]:
    """The same in columns; NaN where a row has null."""
    shared: dict[str, Any] = {
        "round": measured.round,
        "tasks": [[name, tasks[name].metric_name, tasks[name].higher_is_better] for name in measured.sums],
    }
    if measured.part != TEST:
        shared["part"] = measured.part
    if measured.spent is not None:
        shared["spent"] = list(measured.spent)
    parts = [
        _columns(task, clients, *_metrics(tasks[name], sums), _seconds(measured, clients))
        for task, (name, (clients, sums)) in enumerate(measured.sums.items())
    ]
    each = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if len(parts) > 1:
        order = np.lexsort((each["task"], each["client"]))
        each = {key: values[order] for key, values in each.items()}
    spent = float(measured.seconds.sum()) if len(measured.seconds) else math.nan
    totals = [
        _columns(task, np.array([ALL_CLIENTS]), *_metrics(tasks[name], total[None]), np.array([spent]))
        for task, (name, total) in enumerate(pooled(measured).items())
    ]
    together = {key: np.concatenate([part[key] for part in totals]) for key in totals[0]}
    return [*blocks_of(METRICS.name, shared, each), *blocks_of(METRICS.name, shared, together)]


def _columns(
    task: int,
    clients: NDArray[Any],
    value: NDArray[np.float64],
    score: NDArray[np.float64],
    examples: NDArray[np.int64],
    seconds: NDArray[np.float64],
) -> dict[str, NDArray[Any]]:
    return {
        "client": clients.astype(np.int64, copy=False),
        "task": np.full(len(clients), task, np.int64),
        "value": value,
        "score": score,
        "examples": examples,
        "seconds": seconds,
    }


def _seconds(measured: RoundMetrics, clients: NDArray[Any]) -> NDArray[np.float64]:
    """Training time of each client, NaN where it did not train."""
    found = np.full(len(clients), np.nan)
    if len(measured.trained):
        place = np.minimum(np.searchsorted(measured.trained, clients), len(measured.trained) - 1)
        trained = measured.trained[place] == clients
        found[trained] = measured.seconds[place[trained]]
    return found


def _metrics(task: Task, sums: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Value, score and number of examples of each row; rows repeat, and are worked out once."""
    known: dict[bytes, int] = {}
    found: list[tuple[float, float, int]] = []
    which = np.empty(len(sums), np.int64)
    for k, row in enumerate(np.ascontiguousarray(sums)):
        key = row.tobytes()
        if key not in known:
            known[key] = len(found)
            found.append((float(task.metric(row)), float(task.score(row)), int(row[0])))
        which[k] = known[key]
    value, score, examples = (np.array([one[field] for one in found]) for field in range(3))
    return value[which], score[which], examples.astype(np.int64)[which]


def json_number(value: float) -> float | None:
    """JSON has neither NaN nor infinity: nothing was labelled, or the model has diverged."""
    return float(value) if math.isfinite(value) else None


class PackedMetrics(NamedTuple):
    """``RoundMetrics`` in a byte or two a number; ``unpack_metrics`` gives it back."""

    round: int
    sums: dict[str, tuple[Column, tuple[Column, ...]]]
    trained: Column
    seconds: Column
    part: str
    spent: tuple[float, float] | None


def pack_metrics(measured: RoundMetrics) -> PackedMetrics:
    sums = {
        task: (pack_column(clients), tuple(map(pack_column, sums.T.copy())))
        for task, (clients, sums) in measured.sums.items()
    }
    trained, seconds = pack_column(measured.trained), pack_column(measured.seconds)
    return PackedMetrics(measured.round, sums, trained, seconds, measured.part, measured.spent)


def unpack_metrics(kept: PackedMetrics) -> RoundMetrics:
    sums = {
        task: (unpack_column(clients), np.stack(list(map(unpack_column, columns)), axis=1))
        for task, (clients, columns) in kept.sums.items()
    }
    trained, seconds = unpack_column(kept.trained), unpack_column(kept.seconds)
    return RoundMetrics(kept.round, sums, trained, seconds, kept.part, kept.spent)
