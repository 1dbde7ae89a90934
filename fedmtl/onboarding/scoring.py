"""Scores of new clients from the sums of their metrics: of each, and of all."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.onboarding.outcome import Score
from fedmtl.protocol.plan import Plan


class WaySums(NamedTuple):
    """One way to a model, measured on K clients of one set of tasks."""

    labels: int | str
    way: str
    clients: NDArray[np.int64]
    sums: Mapping[str, NDArray[np.float64]]
    """Task -> sums of its metric, [K, s]."""
    labelled: Mapping[str, NDArray[np.int64]]
    """Task -> labelled examples that were used, [K]."""
    bytes_down: NDArray[np.int64]
    """[K]."""


def scores_of(plan: Plan, measured: Sequence[WaySums], names: Mapping[ClientId, str]) -> list[Score]:
    """Return rows over all clients, and then a row for each client."""
    found = []
    for labels, way in dict.fromkeys((one.labels, one.way) for one in measured):
        parts = [one for one in measured if (one.labels, one.way) == (labels, way)]
        for task in plan.all_tasks:
            owning = [one for one in parts if task in one.sums]
            if owning:
                sums = np.sum([one.sums[task].sum(0) for one in owning], axis=0)
                labelled, size = (sum(int(n) for n in each) for each in _totals(owning, task))
                found.append(_score(plan, labels, way, None, "", task, sums, labelled, size))
    for one in measured:
        for task, sums in one.sums.items():
            for k, client in enumerate(one.clients.tolist()):
                of = one.labels, one.way, client, names.get(client, ""), task
                found.append(_score(plan, *of, sums[k], int(one.labelled[task][k]), int(one.bytes_down[k])))
    return found


def _totals(parts: Sequence[WaySums], task: str) -> tuple[list[int], list[int]]:
    return [int(one.labelled[task].sum()) for one in parts], [int(one.bytes_down.sum()) for one in parts]


def _score(
    plan: Plan,
    labels: int | str,
    way: str,
    client: ClientId | None,
    name: str,
    task: str,
    sums: NDArray[np.float64],
    labelled: int,
    bytes_down: int,
) -> Score:
    kind = plan.tasks[task]
    value, score = float(kind.metric(sums)), float(kind.score(sums))
    return Score(labels, way, client, name, task, kind.metric_name, value, score, labelled, bytes_down)
