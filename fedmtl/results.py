"""What a run says: rows, a ledger and a summary.

A run's folder holds ``experiment.toml`` (resolved), ``environment.json``, ``rounds.jsonl`` (a row for each round,
client and task, and one over all clients with client null), ``ledger.jsonl`` (a row for each packet),
``checkpoint/`` (the state of the last finished round), ``model.safetensors`` and ``summary.json`` (at the end).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.comm.ledger import Ledger, Transfer
from fedmtl.experiment import Experiment
from fedmtl.federation.server import Measurement, Server
from fedmtl.tasks.base import Task
from fedmtl.trees import sha256

Row = dict[str, Any]


@dataclass
class Result:
    """What a run brought; ``pandas.DataFrame(result.rows)`` and ``pandas.DataFrame(result.ledger)`` are tables."""

    rows: list[Row]
    """One for each round, client and task, and one over all clients (client None)."""
    ledger: list[Row]
    """One for each packet."""
    summary: dict[str, Any]
    state: Any
    """The algorithm's server state after the last round: for FedPer the trunk."""
    folder: Path | None = None


@dataclass(frozen=True)
class Progress:
    """What a finished round tells whoever watches."""

    round: int
    rounds: int
    mean_score: float
    """Mean over tasks of the score over all clients, of the last model that was measured."""
    bytes_up: int
    bytes_down: int
    problems: Mapping[int, str] = field(default_factory=dict)


def measure_rows(tasks: Mapping[str, Task], measurements: list[Measurement], seconds: Mapping[int, float]) -> list[Row]:
    """Rows of one round: each client's metric of each of its tasks, and each task's over everybody's examples."""
    rows: list[Row] = []
    pooled: dict[str, NDArray[Any]] = {}
    for measurement in measurements:
        for name, sums in measurement.sums.items():
            rows.append(
                _row(measurement.round, measurement.client, name, tasks[name], sums, seconds.get(measurement.client))
            )
            pooled[name] = pooled.get(name, np.zeros_like(sums)) + sums
    spent = sum(seconds.values()) if seconds else None
    for name, sums in sorted(pooled.items()):
        rows.append(_row(measurements[0].round, None, name, tasks[name], sums, spent))
    return rows


def _row(round: int, client: int | None, name: str, task: Task, sums: NDArray[Any], seconds: float | None) -> Row:
    return {
        "round": round,
        "client": client,
        "task": name,
        "metric": task.metric_name,
        "value": _number(task.metric(sums)),
        "score": _number(task.score(sums)),
        "higher_is_better": task.higher_is_better,
        "examples": int(sums[0]),
        "seconds": seconds,
    }


def _number(value: float) -> float | None:
    """JSON has neither NaN nor infinity: nothing was labelled, or the model has diverged."""
    return float(value) if np.isfinite(value) else None


def transfer_row(transfer: Transfer) -> Row:
    return dict(transfer._asdict())


def rows_digest(rows: list[Row]) -> str:
    """Hash of the rows without measured seconds, which differ between any two runs."""
    kept = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    return hashlib.sha256("\n".join(json.dumps(row, sort_keys=True) for row in kept).encode()).hexdigest()


def named_tensors(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of nested mappings and NamedTuples under dotted names."""
    if isinstance(tree, Tensor):
        return {prefix: tree.contiguous()}
    if hasattr(tree, "_asdict"):
        tree = tree._asdict()
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    tensors: dict[str, Tensor] = {}
    for key, value in items:
        tensors.update(named_tensors(value, f"{prefix}.{key}" if prefix else str(key)))
    return tensors


def mean_score(rows: list[Row]) -> float:
    """Mean over tasks of the score over all clients, for the last round that was measured.

    A task without a labelled example does not count; one whose model has diverged makes the mean NaN.
    """
    pooled = [row for row in rows if row["client"] is None and row["examples"] > 0]
    last = max((row["round"] for row in pooled), default=None)
    scores = [row["score"] for row in pooled if row["round"] == last]
    return float(np.mean(scores)) if scores and None not in scores else float("nan")


def summarise(
    experiment: Experiment,
    server: Server,
    rows: list[Row],
    seconds: Mapping[str, float],
    message_bytes: Mapping[str, int],
) -> dict[str, Any]:
    """The last model's metrics for each task, bytes, seconds, and hashes that tell whether two runs are the same.

    ``bytes`` come from the ledger; ``bytes.messages`` were counted in Flower's messages, where a Grid of one
    machine may hold a broadcast once for many clients, and a network never does.

    ``client_mean`` is the plain mean over the clients that own the task, ``worst_tenth`` the mean over the
    tenth of them (at least one) that is worst.
    """
    tasks = {}
    for name, task in server.plan.tasks.items():
        last = [row for row in rows if row["task"] == name and row["round"] == server.rounds]
        values = sorted(row["value"] for row in last if row["client"] is not None and row["value"] is not None)
        if not task.higher_is_better:
            values.reverse()
        pooled = next((row for row in last if row["client"] is None), None)
        tasks[name] = {
            "metric": task.metric_name,
            "higher_is_better": task.higher_is_better,
            "value": pooled["value"] if pooled else None,
            "score": pooled["score"] if pooled else None,
            "client_mean": float(np.mean(values)) if values else None,
            "worst_tenth": float(np.mean(values[: max(1, len(values) // 10)])) if values else None,
            "clients": len(values),
        }
    ledger = server.ledger
    score = mean_score(rows)
    return {
        "name": experiment.name,
        "label": experiment.label,
        "algorithm": repr(experiment.algorithm),
        "up_codec": repr(experiment.up_codec),
        "down_codec": repr(experiment.down_codec),
        "seed": experiment.seed,
        "rounds": server.rounds,
        "clients": len(server.roster),
        "tasks": tasks,
        "mean_score": None if np.isnan(score) else score,
        "bytes": {
            **_bytes(ledger, ("train", "gather", "evaluate")),
            "train": _bytes(ledger, ("train", "gather")),
            "evaluate": _bytes(ledger, ("evaluate",)),
            "messages": dict(message_bytes),
        },
        "seconds": {**seconds, "total": sum(seconds.values())},
        "digests": {
            "trunk": sha256(server.state),
            "rows": rows_digest(rows),
            "ledger": hashlib.sha256(repr(ledger.transfers).encode()).hexdigest(),
        },
    }


def _bytes(ledger: Ledger, purposes: Any) -> dict[str, int]:
    up, down = ledger.total("up", purposes), ledger.total("down", purposes)
    return {"up": up, "down": down, "total": up + down}
