"""Run folders with known numbers, written as a run writes them, without a run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w


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
        "name": "toy", "rounds": rounds, "cohort": 1.0, "batch_size": 8, "seed": seed, "engine": "loop",
        "runtime": "local", "workers": 1, "data": dict(data or {"name": "Toy", "clients": len(clients)}),
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
    write_lines(folder / "rounds.jsonl", rows)
    write_lines(folder / "ledger.jsonl", ledger)
    if summary:
        fields = ", ".join(f"{k}={v!r}" for k, v in algorithm.items() if k != "name")
        label = f"{algorithm['name']}({fields})"
        text = {"label": f"{label} / {codecs['up_codec']['name']}()", "algorithm": label, "tasks": {}, "seed": seed}
        (folder / "summary.json").write_text(json.dumps(text), encoding="utf-8")
    return folder


def row(r: int, client: int | None, task: str, score: float | None, metric: tuple[str, bool]) -> dict[str, Any]:
    """A line of rounds.jsonl; nothing was labelled where the score is None."""
    name, higher = metric
    value = score if score is None or higher else 1 - score
    return {
        "round": r, "client": client, "task": task, "metric": name, "value": value, "score": score,
        "higher_is_better": higher, "examples": 0 if score is None else 20, "train_examples": 64, "seconds": 0.01,
    }  # fmt: skip


def transfer(r: int, client: int, direction: str, purpose: str, count: int) -> dict[str, Any]:
    """A line of ledger.jsonl."""
    return {"round": r, "client": client, "direction": direction, "purpose": purpose, "payload_bytes": count}


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _less(score: float | None, offset: float) -> float | None:
    return None if score is None else score - offset
