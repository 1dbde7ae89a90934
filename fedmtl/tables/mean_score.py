"""The mean score over tasks: the one number by which runs are compared."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def mean_score(scores: Iterable[float | None]) -> float:
    """Mean over tasks; NaN for no task, and where the score of one is None or not finite: its model has diverged.

    A mean of the rest would be the better the worse a model is.
    """
    found = list(scores)
    if not found or not all(score is not None and math.isfinite(score) for score in found):
        return math.nan
    return float(np.mean(np.array(found, np.float64)))


def mean_score_of(rows: Iterable[Mapping[str, Any]]) -> float:
    """Mean score of rows of metrics, one a task; those without a labelled example do not count."""
    return mean_score(row["score"] for row in rows if row["examples"] > 0)
