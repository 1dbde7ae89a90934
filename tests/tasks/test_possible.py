"""Sums that some prediction can have, for each kind of task; the first number counts examples, of which there are 4."""

import numpy as np
import pytest

from fedmtl.tasks import (
    Binary,
    DenseClasses,
    DenseRegression,
    Huber,
    MultiClass,
    MultiLabel,
    MultiRegression,
    Ordinal,
    Quantile,
    Regression,
    SequenceLabels,
)
from fedmtl.tasks.base import Task
from fedmtl.tasks.checks import possible
from fedmtl.tasks.traits import TaskTraits

GOOD = {
    Binary(): [[4, 0], [4, 4], [0, 0], [3, 2]],
    MultiClass(3): [[4, 0], [4, 4], [0, 0]],
    MultiLabel(2): [[4, 0, 0, 0], [4, 8, 0, 0], [4, 3, 2, 3], [0, 0, 0, 0]],
    Regression(): [[4, 0], [4, 1e9], [4, 0.25], [0, 0]],
    Ordinal(3): [[4, 0], [4, 8], [1, 2], [0, 0]],
    Huber(): [[4, 0], [4, 1e9], [4, 0.25], [0, 0]],
    Quantile(): [[4, 0], [4, 1e9], [4, 0.25], [0, 0]],
    MultiRegression(2): [[4, 4, 4, 0, 1e9], [4, 4, 0, 0.5, 0], [4, 1, 3, 1, 1], [0, 0, 0, 0, 0]],
    DenseRegression((5,)): [[4, 20, 0], [4, 4, 1e9], [0, 0, 0]],
    DenseClasses(2, (5,)): [[4, 10, 10, 10, 10, 10, 10], [4, 0, 0, 4, 0, 0, 4], [4, 1, 2, 3, 4, 4, 2], [0] * 7],
    SequenceLabels(3, 5): [[4, 20, 20], [4, 4, 0], [0, 0, 0]],
}
"""Regression may be wrong by any finite number, Ordinal by K − 1 levels; four maps of five places have 4 to 20."""

BAD = {
    Binary(): [[4, 5], [4, -1], [4, 0.5], [5, 4], [3.5, 3], [-1, -1], [4, np.nan], [np.inf, 4], [1e9, 1e9]],
    MultiClass(3): [[4, 5], [4, -5], [0, 1], [np.nan, np.nan]],
    MultiLabel(2): [[4, 9, 0, 0], [4, 4, 4, 1], [4, -1, 0, 0], [4, 0.5, 0, 0], [0, 1, 0, 0], [4, np.inf, 0, 0]],
    Regression(): [[4, -1e-9], [0, 1], [4, np.nan], [4, np.inf], [5, 1], [1e9, 1e9]],
    Ordinal(3): [[4, 9], [4, -1], [4, 0.5], [0, 1], [5, 4], [4, np.nan]],
    Huber(): [[4, -1e-9], [0, 1], [4, np.nan], [4, np.inf], [5, 1]],
    Quantile(): [[4, -1e-9], [0, 1], [4, np.nan], [4, np.inf], [5, 1]],
    MultiRegression(2): [[4, 5, 4, 0, 0], [4, 4, 0, 0, 1], [4, 1, 2, 0, 0], [4, 4, 4, -1, 0], [4, 0.5, 4, 0, 0]],
    DenseRegression((5,)): [[4, 21, 0], [4, 3, 0], [4, 4.5, 0], [4, 4, -1], [0, 0, 1], [5, 20, 1]],
    DenseClasses(2, (5,)): [
        [4, 10, 10, 10, 11, 10, 11],
        [4, 3, 0, 2, 2, 3, 1],
        [4, 3, 0, 3, 1, 2, 2],
        [4, 1, 1, 2, 2, 3, 2],
        [4, 1, 1, 1, 1, 1, 1],
        [4, 0.5, 1, 2, 2, 2, 2],
        [4, -1, 1, 2, 2, 2, 2],
    ],
    SequenceLabels(3, 5): [[4, 21, 0], [4, 3, 0], [4, 5, 6], [4, 5, -1], [4, 5, 0.5], [4, 5.5, 5]],
}


@pytest.mark.parametrize("task", GOOD, ids=repr)
def test_sums_are_told_apart(task: Task) -> None:
    rows = np.array([*GOOD[task], *BAD[task]], np.float64)
    found = possible(task, rows, np.full(len(rows), 4.0))
    assert found.tolist() == [True] * len(GOOD[task]) + [False] * len(BAD[task])


def test_a_task_of_a_users_own_need_only_have_a_finite_metric() -> None:
    class Own:
        traits = TaskTraits()

        def metric(self, sums: np.ndarray) -> float:
            if sums[1] == 7:
                raise ValueError("math domain error")
            return float(np.log(sums[1]))

    rows = np.array([[4.0, 1.0], [4.0, 0.0], [4.0, -1.0], [5.0, 1.0], [0.0, -1.0], [4.0, 7.0]])
    with np.errstate(all="ignore"):
        found = possible(Own(), rows, np.full(6, 4.0))  # pyright: ignore[reportArgumentType]
    assert found.tolist() == [True, False, False, False, True, False]
