"""Rows of metrics by round and task over all clients, and by client."""

from collections.abc import Iterable, Mapping
from typing import Any

TaskRows = Mapping[str, Mapping[str, Any]]
"""Task -> its row over all clients."""


def pooled_by_round(rows: Iterable[Mapping[str, Any]], part: str, tasks: int) -> dict[int, TaskRows]:
    """Return evaluated round -> task -> the row over all clients.

    Args:
        rows: of the run's metrics.
        part: of the clients' examples: test or valid.
        tasks: number of the run's tasks.
    """
    pooled: dict[int, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["client"] is None and row["part"] == part:
            pooled.setdefault(row["round"], {})[row["task"]] = row
    return {r: found for r, found in sorted(pooled.items()) if len(found) == tasks}


def client_rows(rows: Iterable[Mapping[str, Any]], round: int | None, part: str) -> dict[int, list[Mapping[str, Any]]]:
    """Return client -> its rows of a round and a part that have a labelled example."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["client"] is not None and (row["round"], row["part"]) == (round, part) and row["examples"] > 0:
            found.setdefault(row["client"], []).append(row)
    return found
