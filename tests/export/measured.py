"""Predictions of a result against what its run measured."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl import Federation, Result
from fedmtl.models.predictions import Predictions, TaskPrediction
from fedmtl.tasks import MultiLabel, Regression, Task


def metric(task: Task, found: TaskPrediction, y: NDArray[Any]) -> float:
    """The task's primary metric, by numpy, of decoded predictions."""
    known = ~np.isnan(y)
    values, labels = found.values[known], y[known]
    match task:
        case Regression():
            return float(np.sqrt(np.mean((values - labels) ** 2)))
        case MultiLabel():
            tp, wrong = (values * labels).sum(), (values != labels).sum()
            return float(2 * tp / (2 * tp + wrong)) if tp + wrong else 1.0
        case _:
            return float((values == labels).mean())


def check_measured(result: Result, data: Federation) -> dict[int, Predictions]:
    """Compare each client's row of the result with the metric of its predictions on its test examples, which are
    returned."""
    end = max(row["round"] for row in result.rows if row["part"] == "test")
    rows = [row for row in result.rows if row["round"] == end and row["client"] is not None and row["part"] == "test"]
    assert len(rows) == sum(len(own.tasks) for own in data.clients.values())
    predictions = {client: result.predict(client, own.test.x) for client, own in data.clients.items()}
    for row in rows:
        found = predictions[row["client"]]
        assert set(found) == set(data.clients[row["client"]].tasks)
        y = data.clients[row["client"]].test.y[row["task"]]
        if (~np.isnan(y)).any():
            assert metric(data.tasks[row["task"]], found[row["task"]], y) == pytest.approx(row["value"], rel=1e-5)
    return predictions
