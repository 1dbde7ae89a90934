"""Metrics beside the primary one as columns: of each client, and of all clients together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics import MEASURES as NAMES
from fedmtl.metrics import MetricKind, Tally
from fedmtl.metrics.tally import joined
from fedmtl.server.round_result import ClientMetrics
from fedmtl.tables.blocks import Block, blocks_of
from fedmtl.tables.schemas import ALL_CLIENTS, CONFUSION, MEASURES, TEST
from fedmtl.tasks.base import Task
from fedmtl.tasks.names import class_names


def measure_blocks(
    tasks: Mapping[str, Task], kinds: Mapping[str, MetricKind], measurements: Sequence[ClientMetrics], last: bool
) -> dict[str, list[Block]]:
    """Table -> its blocks: each client's metrics and confusion counts by task and client, then all clients' together.

    Args:
        tasks: of the run.
        kinds: task -> its statistics.
        measurements: of one model.
        last: whether this is the last model, of which each client's confusion counts are kept, too.
    """
    found = _by_task(measurements)
    if not found:
        return {}
    shared: dict[str, Any] = {
        "round": measurements[0].round,
        "tasks": [[name, list(class_names(tasks[name])), kinds[name].several] for name in found],
    }
    if measurements[0].part != TEST:
        shared["part"] = measurements[0].part
    parts: dict[str, list[dict[str, NDArray[Any]]]] = {MEASURES.name: [], CONFUSION.name: []}
    for one in (False, True):
        for index, (name, (clients, sums, tally)) in enumerate(found.items()):
            if one:
                clients, sums, tally = np.array([ALL_CLIENTS]), sums.sum(0, keepdims=True), tally.total()
            parts[MEASURES.name].append(_measured(index, kinds[name], clients, sums, tally))
            if one or last:
                parts[CONFUSION.name].append(_confused(index, kinds[name], clients, tally))
    return {
        table: blocks_of(table, shared, {key: np.concatenate([part[key] for part in some]) for key in some[0]})
        for table, some in parts.items()
    }


def _by_task(measurements: Sequence[ClientMetrics]) -> dict[str, tuple[NDArray[Any], NDArray[Any], Tally]]:
    """Task -> clients, ascending, their sums of the primary metric and their other statistics; sorted by task."""
    parts: dict[str, list[tuple[NDArray[Any], NDArray[Any], Tally]]] = {}
    for measurement in measurements:
        for task, tally in measurement.tallies.items():
            parts.setdefault(task, []).append((measurement.clients, measurement.sums[task], tally))
    found = {}
    for task, some in sorted(parts.items()):
        clients = np.concatenate([clients for clients, _, _ in some])
        order = np.argsort(clients, kind="stable")
        sums, tally = np.concatenate([sums for _, sums, _ in some]), joined([tally for _, _, tally in some])
        found[task] = clients[order], np.ascontiguousarray(sums[order]), tally.select(order)
    return found


def _measured(
    task: int, kind: MetricKind, clients: NDArray[Any], sums: NDArray[Any], tally: Tally
) -> dict[str, NDArray[Any]]:
    metrics = kind.metrics(sums, tally)
    nothing = np.full(len(clients), np.nan)
    return {
        "client": clients.astype(np.int64, copy=False),
        "task": np.full(len(clients), task, np.int64),
        "examples": sums[:, 0].astype(np.int64),
        **{name: np.asarray(metrics.get(name, nothing), np.float64) for name in NAMES},
    }


def _confused(task: int, kind: MetricKind, clients: NDArray[Any], tally: Tally) -> dict[str, NDArray[Any]]:
    confusion = kind.confusion(tally)
    return {
        "client": clients[confusion.owners].astype(np.int64, copy=False),
        "task": np.full(len(confusion.counts), task, np.int64),
        "label": np.asarray(confusion.label, np.int64),
        "truth": np.asarray(confusion.truth, np.int64),
        "predicted": np.where(confusion.predicted < confusion.classes, confusion.predicted, -1),
        "count": confusion.counts.astype(np.int64, copy=False),
    }
