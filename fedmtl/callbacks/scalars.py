"""Rows as scalars: a tag, a step and a number each, alike for all dashboards."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fedmtl.comm.tables import TEST, Row


class Scalar(NamedTuple):
    """One point of a curve."""

    tag: str
    """``task/metric`` over all clients, ``task/metric/client_3`` of one; ``bytes/train/up`` and so on."""
    step: int
    """The round."""
    value: float
    """NaN where the model has diverged."""


def row_scalars(rows: Sequence[Row], clients: bool = True) -> Iterator[Scalar]:
    """The points of measured rows; a row without a labelled example has none.

    Args:
        rows: of one round's model.
        clients: whether each client has curves of its own.
    """
    scores: dict[tuple[str, int], list[float]] = {}
    seconds: dict[tuple[str, int], float] = {}
    for row in rows:
        if row["client"] is not None and not clients:
            continue
        of = "" if row["client"] is None else f"/client_{row['client']}"
        part = "" if row["part"] == TEST else f"{row['part']}/"
        if row["seconds"] is not None:
            seconds[f"seconds/train{of}", row["round"]] = row["seconds"]
        if not row["examples"]:
            continue
        value, score = _number(row["value"]), _number(row["score"])
        yield Scalar(f"{part}{row['task']}/{row['metric']}{of}", row["round"], value)
        if value != score and not (math.isnan(value) and math.isnan(score)):
            yield Scalar(f"{part}{row['task']}/score{of}", row["round"], score)
        if row["client"] is None:
            scores.setdefault((part, row["round"]), []).append(score)
    for (part, step), some in scores.items():
        yield Scalar(f"{part}mean_score", step, sum(some) / len(some))
    for (tag, step), spent in seconds.items():
        yield Scalar(tag, step, spent)


def ledger_scalars(rows: Sequence[Row], clients: bool = True) -> Iterator[Scalar]:
    """The points of the packets of one exchange: bytes by purpose and direction.

    Args:
        rows: of the exchange.
        clients: whether each client has curves of its own.
    """
    total: Counter[tuple[str, int]] = Counter()
    for row in rows:
        tag = f"bytes/{row['purpose']}/{row['direction']}"
        total[tag, row["round"]] += row["payload_bytes"]
        if clients:
            total[f"{tag}/client_{row['client']}", row["round"]] += row["payload_bytes"]
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
