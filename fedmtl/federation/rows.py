"""Measurements as rows: columns while a run goes on, a dict or a line of JSON a row when somebody reads them."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.comm.columns import Column, pack, unpack
from fedmtl.federation.outcome import Measurements
from fedmtl.tasks.base import Task

Row = dict[str, Any]


class Measured(NamedTuple):
    """All that was measured of the model after ``round`` rounds."""

    round: int
    sums: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
    """Task -> clients, ascending, [K] int64, and the statistics of its metric, [K, s] float64; sorted by task."""
    trained: NDArray[Any]
    """Who trained in that round, ascending, [T] int64."""
    seconds: NDArray[Any]
    """How long, [T] float64."""


def by_task(measurements: Sequence[Measurements], trained: NDArray[Any], seconds: NDArray[Any]) -> Measured | None:
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
    return Measured(measurements[0].round, merged, trained, seconds)


def pooled(measured: Measured) -> dict[str, NDArray[Any]]:
    """Task -> statistics over everybody's examples, [s]."""
    return {task: sums.sum(0) for task, (_, sums) in measured.sums.items()}


def mean_score(tasks: Mapping[str, Task], measured: Measured) -> float:
    """Mean over tasks of the score over all clients.

    A task without a labelled example does not count; one whose model has diverged makes the mean NaN.
    """
    scores = [tasks[task].score(sums) for task, sums in pooled(measured).items() if sums[0] > 0]
    return float(np.mean(scores)) if scores and np.isfinite(scores).all() else float("nan")


def digest(before: str, measured: Measured) -> str:
    """SHA-256 of the digest before (its 32 bytes, at first none) and of what was measured, but for the seconds.

    That is the round as a little-endian int64, and for each task its name, a zero byte, the number of clients as
    int64, the clients, and their statistics as float64, row by row.
    """
    sha = hashlib.sha256(bytes.fromhex(before) + np.int64(measured.round).astype("<i8").tobytes())
    for task, (clients, sums) in measured.sums.items():
        sha.update(task.encode() + b"\0" + np.concatenate([[len(clients)], clients]).astype("<i8").tobytes())
        # A NaN has many bit patterns, and which one comes out depends on the processor.
        sha.update(np.where(np.isnan(sums), np.nan, sums).astype("<f8").tobytes())
    return sha.hexdigest()


def rows(tasks: Mapping[str, Task], measured: Measured) -> Iterator[Row]:
    """Each client's metric of each of its tasks, by client and task, and then each task's over everybody's examples."""
    for client, task, value, score, examples, seconds in _fields(tasks, measured):
        yield {
            "round": measured.round,
            "client": client,
            "task": task,
            "metric": tasks[task].metric_name,
            "value": value,
            "score": score,
            "higher_is_better": tasks[task].higher_is_better,
            "examples": examples,
            "seconds": seconds,
        }


def lines(tasks: Mapping[str, Task], measured: Measured) -> str:
    """The rows as lines of JSON, some five times as fast as row by row."""
    start = f'{{"round": {measured.round}, "client": '
    heads, better = {}, {}
    for name, task in tasks.items():
        heads[name] = f'"task": {json.dumps(name)}, "metric": {json.dumps(task.metric_name)}'
        better[name] = f'"higher_is_better": {json.dumps(task.higher_is_better)}'
    return "".join(
        [
            f'{start}{_json(client)}, {heads[task]}, "value": {_json(value)}, "score": {_json(score)}, {better[task]}, '
            f'"examples": {examples}, "seconds": {_json(seconds)}}}\n'
            for client, task, value, score, examples, seconds in _fields(tasks, measured)
        ]
    )


def _json(number: float | None) -> str:
    return "null" if number is None else repr(number)


Fields = tuple[int | None, str, float | None, float | None, int, float | None]
"""Client, task, value, score, examples, seconds."""


def _fields(tasks: Mapping[str, Task], measured: Measured) -> list[Fields]:
    seconds = dict(zip(measured.trained.tolist(), measured.seconds.tolist(), strict=True))
    fields: list[Fields] = []
    for name, (clients, sums) in measured.sums.items():
        metrics = _metrics(tasks[name], sums)
        fields += [
            (client, name, *metric, seconds.get(client))
            for client, metric in zip(clients.tolist(), metrics, strict=True)
        ]
    if len(measured.sums) > 1:
        fields.sort(key=lambda one: one[:2])
    spent = float(measured.seconds.sum()) if len(measured.seconds) else None
    for name, total in pooled(measured).items():
        (metric,) = _metrics(tasks[name], total[None])
        fields.append((None, name, *metric, spent))
    return fields


def _metrics(task: Task, sums: NDArray[Any]) -> list[tuple[float | None, float | None, int]]:
    """Value, score and number of examples of each row; counts repeat, and are worked out once."""
    known: dict[bytes, tuple[float | None, float | None, int]] = {}
    found = []
    for row in np.ascontiguousarray(sums):
        key = row.tobytes()
        if key not in known:
            known[key] = finite(task.metric(row)), finite(task.score(row)), int(row[0])
        found.append(known[key])
    return found


def finite(value: float) -> float | None:
    """JSON has neither NaN nor infinity: nothing was labelled, or the model has diverged."""
    return float(value) if math.isfinite(value) else None


class Kept(NamedTuple):
    """``Measured`` in a byte or two a number; ``unkeep`` gives it back."""

    round: int
    sums: dict[str, tuple[Column, tuple[Column, ...]]]
    trained: Column
    seconds: Column


def keep(measured: Measured) -> Kept:
    sums = {task: (pack(clients), tuple(map(pack, sums.T.copy()))) for task, (clients, sums) in measured.sums.items()}
    return Kept(measured.round, sums, pack(measured.trained), pack(measured.seconds))


def unkeep(kept: Kept) -> Measured:
    sums = {
        task: (unpack(clients), np.stack(list(map(unpack, columns)), axis=1))
        for task, (clients, columns) in kept.sums.items()
    }
    return Measured(kept.round, sums, unpack(kept.trained), unpack(kept.seconds))
