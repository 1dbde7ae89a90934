"""Rows as scalars: a tag, a step and a number each, alike for all dashboards."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fedmtl.metrics.base import MEASURES as NAMES
from fedmtl.tables.mean_score import mean_score_of
from fedmtl.tables.schemas import LEDGER, MEASURES, METRICS, TEST, TRAINING, Row


class Scalar(NamedTuple):
    """One point of a curve."""

    tag: str
    """``task/metric`` over all clients, ``task/metric/client_3`` of one; so ``train_loss``, ``bytes/train/up`` and so
    on."""
    step: int
    """The round."""
    value: float
    """NaN where the model has diverged."""


def scalars(table: str, rows: Sequence[Row], clients: bool = True) -> Iterator[Scalar]:
    """The points of a table's rows; counts of the table ``confusion`` are no curves, and have none.

    Args:
        table: whose rows they are.
        rows: of one exchange.
        clients: whether each client has curves of its own.
    """
    makers = {METRICS.name: _metrics, MEASURES.name: _measures, TRAINING.name: _training, LEDGER.name: _packets}
    if table in makers:
        yield from makers[table](rows, clients)


def _metrics(rows: Sequence[Row], clients: bool) -> Iterator[Scalar]:
    """Value and score; a row without a labelled example has none."""
    scores: dict[tuple[str, int], list[Row]] = {}
    seconds: dict[tuple[str, int], float] = {}
    for row in rows:
        if row["client"] is not None and not clients:
            continue
        of, part = _of(row), _part(row)
        if row["seconds"] is not None:
            seconds[f"seconds/train{of}", row["round"]] = row["seconds"]
        if not row["examples"]:
            continue
        value, score = _number(row["value"]), _number(row["score"])
        yield Scalar(f"{part}{row['task']}/{row['metric']}{of}", row["round"], value)
        if value != score and not (math.isnan(value) and math.isnan(score)):
            yield Scalar(f"{part}{row['task']}/score{of}", row["round"], score)
        if row["client"] is None:
            scores.setdefault((part, row["round"]), []).append(row)
    for (part, step), some in scores.items():
        yield Scalar(f"{part}mean_score", step, mean_score_of(some))
    for (tag, step), spent in seconds.items():
        yield Scalar(tag, step, spent)


def _measures(rows: Sequence[Row], clients: bool) -> Iterator[Scalar]:
    """Metrics beside the primary one, where they have a value."""
    for row in rows:
        if row["client"] is not None and not clients:
            continue
        for name in NAMES:
            if row[name] is not None:
                yield Scalar(f"{_part(row)}{row['task']}/{name}{_of(row)}", row["round"], float(row[name]))


def _training(rows: Sequence[Row], clients: bool) -> Iterator[Scalar]:
    """Training losses, by the round that was trained."""
    for row in rows:
        if row["client"] is None or clients:
            yield Scalar(f"{row['metric']}{_of(row)}", row["round"], _number(row["value"]))


def _of(row: Row) -> str:
    return "" if row["client"] is None else f"/client_{row['client']}"


def _part(row: Row) -> str:
    return "" if row["part"] == TEST else f"{row['part']}/"


def _packets(rows: Sequence[Row], clients: bool) -> Iterator[Scalar]:
    """Bytes by purpose and direction."""
    total: Counter[tuple[str, int]] = Counter()
    for row in rows:
        tag = f"bytes/{row['purpose']}/{row['direction']}"
        total[tag, row["round"]] += row["packet_bytes"]
        if clients:
            total[f"{tag}/client_{row['client']}", row["round"]] += row["packet_bytes"]
    for (tag, step), size in total.items():
        yield Scalar(tag, step, float(size))


def summary_scalars(summary: Mapping[str, Any]) -> Iterator[Scalar]:
    """The points of a summary, at the round whose model is the result: what it reached and what was sent."""
    step = summary["stopped"]["best_round"] if "stopped" in summary else summary["rounds"]
    for task, found in summary["tasks"].items():
        for field in ("value", "client_mean", "worst_tenth"):
            if found.get(field) is not None:
                yield Scalar(f"final/{task}/{field}", step, found[field])
    if summary["mean_score"] is not None:
        yield Scalar("final/mean_score", step, summary["mean_score"])
    for purpose in ("train", "evaluate"):
        for direction, size in summary["bytes"][purpose].items():
            yield Scalar(f"final/bytes/{purpose}/{direction}", step, float(size))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings under dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
