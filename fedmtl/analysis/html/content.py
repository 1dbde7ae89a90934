"""The numbers of the page: of each run its curves, bytes, clients and matrices, as plain values for JSON."""

import json
from collections.abc import Mapping, Sequence
from math import isfinite, prod
from pathlib import Path
from typing import Any

from fedmtl.analysis.byte_rows import COLUMNS, NOTE, byte_totals
from fedmtl.analysis.diagnostics import Diagnostic
from fedmtl.analysis.groups import Group
from fedmtl.analysis.intervals import Estimate, estimate
from fedmtl.analysis.pooled_rows import client_rows
from fedmtl.analysis.report.line_styles import line_styles
from fedmtl.analysis.runs import Run
from fedmtl.analysis.transfers import cost_by_round
from fedmtl.core.files import Folder

MOST_CLIENTS = 100
"""Clients at most that a run has rows of; of more, those of as many places in the order of their scores."""

MOST_MATRIX = 60
"""Clients, or classes, at most of a matrix."""

DASHES = {"-": ""}
"""matplotlib's solid line, as SVG says it."""


def content_of(groups: Sequence[Group]) -> dict[str, Any]:
    """Return the page's numbers.

    Args:
        groups: of one problem or of several; runs that have not finished have the curves that they have.
    """
    styles = line_styles(groups)
    tasks = {task: metric for group in groups for task, metric in group.metrics.items()}
    return {
        "columns": {"names": list(COLUMNS), "note": NOTE},
        "tasks": {name: {"metric": one.name, "higher": one.higher_is_better} for name, one in sorted(tasks.items())},
        "groups": [
            {
                "name": group.name,
                "label": group.label,
                "problem": group.problem,
                "status": group.status,
                "color": styles[group.name].color,
                "dash": DASHES.get(str(styles[group.name].dashes), _dash(styles[group.name].dashes)),
                "score": _estimate(group.score()),
                "bytes": _estimate(estimate([run.training_bytes() for run in group.finished])),
            }
            for group in groups
        ],
        "runs": [{"group": number, **_run(run)} for number, group in enumerate(groups) for run in group.runs],
    }


def _dash(dashes: Any) -> str:
    return " ".join(f"{3 * float(each):g}" for each in dashes[1]) if isinstance(dashes, tuple) else ""


def _estimate(found: Estimate) -> list[float | None]:
    return [_number(found.mean), _number(found.half)]


def _number(value: float | None) -> float | None:
    """Five digits are more than a pixel; no number is null."""
    return None if value is None or not isfinite(value) else float(f"{value:.5g}")


def _run(run: Run) -> dict[str, Any]:
    curve = run.mean_score_curve()
    finals = client_rows(run.rows, run.final_round, run.final_part)
    return {
        "seed": run.seed,
        "folder": str(run.folder),
        "failure": None if run.failure is None else f"{run.failure.state}: {run.failure.reason}",
        "along": {"rounds": curve.rounds, **_costs(run, curve.rounds)},
        "score": [_number(value) for value in curve.values],
        "tasks": {task: [_number(value) for value in run.curve(task).values] for task in run.metrics},
        "bytes": _bytes(run),
        "columns": {way: [_number(value) for value in sums.values()] for way, sums in byte_totals(run).items()},
        "layers": layers(run.folder),
        "clients": _clients(run, finals),
        "confusion": _confusion(run),
        "relations": [found for name, one in run.diagnostics.items() if (found := _relation(run, name, one))],
        "experiment": _flat(run.experiment),
        "environment": _environment(run.folder),
    }


def _costs(run: Run, rounds: Sequence[int]) -> dict[str, list[Any]]:
    """Return what a model had cost at each evaluated round: bytes up, down and both, simulated seconds and joules."""
    found: dict[str, list[Any]] = {
        name: cost_by_round(run.transfers, rounds, direction)
        for name, direction in (("bytes", None), ("bytes up", "up"), ("bytes down", "down"))
    }
    pooled = {row["round"]: row for row in run.rows if row["client"] is None and row["part"] == run.curve_part}
    for name, field in (("simulated seconds", "simulated_seconds"), ("simulated joules", "simulated_joules")):
        values = [pooled.get(round, {}).get(field) for round in rounds]
        if any(value is not None for value in values):
            found[name] = [_number(value) for value in values]
    return found


def _bytes(run: Run) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in run.transfers:
        name = f"{row['purpose'].replace('_', ' ')} {row['direction']}"
        found[name] = found.get(name, 0) + row["packet_bytes"]
    return dict(sorted(found.items()))


def layers(folder: Path) -> dict[str, int]:
    """Return numbers of each group of the shared parameters, by the first two parts of their names.

    They are read from the head of ``model.safetensors``: 8 bytes of its length, and a JSON text.
    """
    files = Folder(folder)
    if not files.exists("model.safetensors"):
        return {}
    data = files.read("model.safetensors")
    found: dict[str, int] = {}
    try:
        head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        for name, tensor in head.items():
            if name != "__metadata__":
                group = ".".join(name.split(".")[:2])
                found[group] = found.get(group, 0) + prod(int(length) for length in tensor["shape"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(
            f"{folder / 'model.safetensors'} is not what a run writes; restore it, or delete it."
        ) from None
    return found


def _clients(run: Run, finals: Mapping[int, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the scores of clients and tasks, of at most ``MOST_CLIENTS`` from the lowest mean to the highest."""
    means = sorted((score, client) for client, score in run.client_scores().items() if isfinite(score))
    places = len(means)
    if places > MOST_CLIENTS:
        means = [means[round(k * (places - 1) / (MOST_CLIENTS - 1))] for k in range(MOST_CLIENTS)]
    rows = []
    for mean, client in means:
        scores = {row["task"]: _number(row["score"]) for row in finals[client] if row["examples"]}
        rows.append([run.client_name(client), _number(mean), scores])
    return {"count": places, "rows": rows}


def _confusion(run: Run) -> list[dict[str, Any]]:
    found = []
    for task in run.metrics:
        for label, matrix in run.confusion(task).items():
            if len(matrix.names) <= MOST_MATRIX:
                name = task if label is None else f"{task}: {label}"
                found.append({"name": name, "classes": matrix.names, "counts": matrix.counts})
    return found


def _relation(run: Run, name: str, one: Diagnostic) -> dict[str, Any] | None:
    square = len(one.values) > 1 and all(isinstance(row, list) and len(row) == len(one.values) for row in one.values)
    if not square or len(one.values) > MOST_MATRIX:
        return None
    values = [[_number(value) for value in row] for row in one.values]
    return {"name": name, "clients": [run.client_name(client) for client in one.clients], "values": values}


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    """Return the settings as pairs of a dotted key and a text."""
    found: list[list[str]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append([f"{prefix}{key}", _shown(value)])
    return found


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _environment(folder: Path) -> list[list[str]]:
    files = Folder(folder)
    if not files.exists("environment.json"):
        return []
    found = json.loads(files.read("environment.json"))
    return _flat(found) if isinstance(found, dict) else []
