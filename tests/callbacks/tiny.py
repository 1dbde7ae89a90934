"""A run small enough for every callback: six ragged clients, three tasks, one to two tasks a client."""

from pathlib import Path
from typing import Any

from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import load_experiment

TINY = Path(__file__).parent.parent / "runtime" / "tiny.toml"


def experiment(*settings: str) -> Experiment:
    return load_experiment(TINY, ["rounds=3", "train_loss=true", *settings])


def curve(rows: list[dict[str, Any]], task: str, client: int | None) -> list[tuple[int, float]]:
    """(round, value) of the labelled rows of a task, of a client or of all."""
    return [
        (row["round"], row["value"])
        for row in rows
        if row["task"] == task and row["client"] == client and row["examples"]
    ]


def curves(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Tag -> curve, of each task over all clients and of each client that owns it, as the README names them."""
    found = {}
    for task, client in sorted({(row["task"], row["client"]) for row in rows}, key=repr):
        points = curve(rows, task, client)
        if points:
            found[f"{task}/accuracy" + ("" if client is None else f"/client_{client}")] = points
    return found


def byte_curves(ledger: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Tag -> bytes of each round, of each purpose and direction, over all clients and of each."""
    sums: dict[str, dict[int, float]] = {}
    for row in ledger:
        tag = f"bytes/{row['purpose']}/{row['direction']}"
        for name in (tag, f"{tag}/client_{row['client']}"):
            of = sums.setdefault(name, {})
            of[row["round"]] = of.get(row["round"], 0) + row["packet_bytes"]
    return {tag: sorted(of.items()) for tag, of in sums.items()}


def measure_curves(measures: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Tag -> curve, of each metric beside the primary one, where it has a value."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in measures:
        of = "" if row["client"] is None else f"/client_{row['client']}"
        for name in sorted(row.keys() - {"round", "client", "task", "examples", "part"}):
            if row[name] is not None:
                found.setdefault(f"{row['task']}/{name}{of}", []).append((row["round"], row[name]))
    return found


def training_curves(training: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Tag -> curve, of the training loss over all clients and of each."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in training:
        tag = "train_loss" if row["client"] is None else f"train_loss/client_{row['client']}"
        found.setdefault(tag, []).append((row["round"], row["value"]))
    return found


class Stop(BaseException):
    """Ends a run as a signal does."""


def stop_after(round: int) -> Any:
    def on_round(progress: Any) -> None:
        if progress.round == round:
            raise Stop

    return on_round
