"""Run folders with known numbers, written as a run writes them, without a run."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from fedmtl.core.file_format import FORMAT
from fedmtl.tables.blocks import Block, Mark, append, blocks_of
from fedmtl.tables.schemas import ALL_CLIENTS, LEDGER, METRICS, Table


def write_run(
    folder: Path,
    algorithm: Mapping[str, Any],
    scores: Mapping[str, Sequence[float | None]],
    *,
    seed: int = 0,
    up: int = 0,
    down: int = 0,
    evaluate: int = 0,
    up_codec: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    clients: Sequence[int] = (0, 1),
    client_offset: float = 0.1,
    metrics: Mapping[str, tuple[str, bool]] | None = None,
    every: int = 1,
    summary: bool = True,
    **settings: Any,
) -> Path:
    """A run of ``len(scores[task]) - 1`` rounds, whose row r of a task over all clients is ``scores[task][r]``.

    Value and score are the same number, except that the value of a metric where lower is better is 1 - score.
    Client i scores ``i * client_offset`` less than all clients. In each round every client sends ``up`` and
    receives ``down`` bytes, and ``evaluate`` bytes either way when it is evaluated, after every ``every``-th round.
    """
    rounds = len(next(iter(scores.values()))) - 1
    metrics = metrics or {}
    codecs = {"up_codec": dict(up_codec or {"name": "Dense"}), "down_codec": {"name": "Dense"}}
    experiment: dict[str, Any] = {
        "name": "toy", "rounds": rounds, "cohort": 1.0, "batch_size": 8, "seed": seed, "engine": {"name": "Loop"},
        "runtime": {"name": "InProcess"}, "data": dict(data or {"name": "Toy", "clients": len(clients)}),
        "model": {"name": "MLP", "hidden": [8]}, "algorithm": dict(algorithm), **codecs, **settings,
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    ledger: list[dict[str, Any]] = []
    for r in range(rounds + 1):
        if r > 0:
            ledger += [transfer(r, c, "down", "train", down) for c in clients]
            ledger += [transfer(r, c, "up", "train", up) for c in clients]
        if r % every:
            continue
        ledger += [transfer(r, c, way, "evaluate", evaluate) for c in clients for way in ("down", "up")]
        for task, values in scores.items():
            metric = metrics.get(task, ("accuracy", True))
            rows += [row(r, c, task, _less(values[r], i * client_offset), metric) for i, c in enumerate(clients)]
            rows.append(row(r, None, task, values[r], metric))
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text(tomli_w.dumps(experiment), encoding="utf-8")
    (folder / "environment.json").write_text("{}", encoding="utf-8")
    write_table(folder, METRICS, metric_blocks(rows))
    write_table(folder, LEDGER, ledger_blocks(ledger))
    if summary:
        fields = ", ".join(f"{k}={v!r}" for k, v in algorithm.items() if k != "name")
        label = f"{algorithm['name']}({fields})"
        text = {"format": FORMAT, "label": f"{label} / {codecs['up_codec']['name']}()", "algorithm": label}
        text |= {"tasks": {}, "seed": seed}
        (folder / "summary.json").write_text(json.dumps(text), encoding="utf-8")
    return folder


def row(r: int, client: int | None, task: str, score: float | None, metric: tuple[str, bool]) -> dict[str, Any]:
    """A row of metrics; nothing was labelled where the score is None."""
    name, higher = metric
    value = score if score is None or higher else 1 - score
    return {
        "round": r, "client": client, "task": task, "metric": name, "value": value, "score": score,
        "higher_is_better": higher, "examples": 0 if score is None else 20, "seconds": 0.01,
        "part": "test",
    }  # fmt: skip


def transfer(r: int, client: int, direction: str, purpose: str, count: int) -> dict[str, Any]:
    """A row of the ledger."""
    return {"round": r, "client": client, "direction": direction, "purpose": purpose, "packet_bytes": count}


def metric_blocks(rows: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Blocks of one row each: the smallest that a run may write."""
    for each in rows:
        shared = {"round": each["round"], "tasks": [[each["task"], each["metric"], each["higher_is_better"]]]}
        client = ALL_CLIENTS if each["client"] is None else each["client"]
        whole = {"client": client, "task": 0, "examples": each["examples"]}
        floats = {key: math.nan if each[key] is None else each[key] for key in ("value", "score", "seconds")}
        columns = {key: np.array([value], np.int64) for key, value in whole.items()}
        columns |= {key: np.array([value], np.float64) for key, value in floats.items()}
        yield from blocks_of(METRICS.name, shared, columns)


def ledger_blocks(rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    shared = {"directions": ["down", "up"], "purposes": ["train", "evaluate", "raw_data"]}
    numbers = [
        {**each, "direction": shared["directions"].index(each["direction"])}
        | {"purpose": shared["purposes"].index(each["purpose"])}
        for each in rows
    ]
    return blocks_of(LEDGER.name, shared, {key: np.array([row[key] for row in numbers]) for key in LEDGER.fields})


def write_table(folder: Path, table: Table, blocks: Iterable[Block]) -> None:
    append(folder / table.file, Mark(), blocks)


def _less(score: float | None, offset: float) -> float | None:
    return None if score is None else score - offset
