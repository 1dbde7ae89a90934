"""Which task an array of labels is of, when nobody says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.tasks.base import Task
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.multilabel import MultiLabel
from fedmtl.tasks.regression import Regression


def with_nan(y: NDArray[Any], missing: float | None) -> NDArray[Any]:
    """The labels with NaN where they equal ``missing``; y itself when that changes nothing."""
    return y if missing is None or np.isnan(missing) else np.where(y == missing, np.nan, y)


def infer_task(name: str, labels: Sequence[NDArray[Any]], missing: float | None) -> Task | None:
    """The task of the labels of all clients that own it, or None for a ``Regression`` yet to be standardised.

    [N, L] of 0 and 1 is ``MultiLabel(L)``; nothing but 0 and 1 is ``Binary``; whole numbers of an integer dtype are
    ``MultiClass`` of the largest + 1; anything else is a number to predict.

    Raises:
        ValueError: no label at all, shapes that differ between clients, vectors of something else than 0 and 1, or
            negative whole numbers.
    """
    shapes: set[tuple[int, ...]] = {y.shape[1:] for y in labels}
    if len(shapes) > 1:
        raise ValueError(f"Task {name!r}: labels of one example have shapes {sorted(shapes)}; they must be alike.")
    nan_for_missing = [with_nan(y, missing) for y in labels]
    known = np.concatenate([y[~np.isnan(y)] for y in nan_for_missing])
    if known.size == 0:
        raise ValueError(f"Task {name!r} has no label to infer its kind from; pass tasks={{{name!r}: …}}.")
    zero_one = bool(np.isin(known, (0, 1)).all())
    shape = shapes.pop()
    if len(shape) == 1 and zero_one:
        return MultiLabel(shape[0])
    if shape:
        raise ValueError(
            f"Task {name!r} has labels of shape (N, {', '.join(map(str, shape))}) that are not columns of 0 and 1; "
            "make each column a task of its own."
        )
    if zero_one:
        return Binary()
    if any(y.dtype.kind not in "biu" for y in labels):
        return None
    if known.min() < 0:
        raise ValueError(
            f"Task {name!r} has whole numbers from {known.min():.0f}, and classes count from 0; pass "
            f"missing={known.min():.0f} if that stands for 'not labelled', or tasks={{{name!r}: Regression(…)}}."
        )
    return MultiClass(int(known.max()) + 1)


def infer_regression(name: str, labels: Sequence[NDArray[Any]]) -> Regression:
    """The regression that is standardised by the mean and std of these labels, NaN where not labelled.

    Raises:
        ValueError: no label, or all equal.
    """
    known = np.concatenate([y[~np.isnan(y)] for y in labels]).astype(np.float64)
    if known.size == 0 or not known.std() > 0:
        raise ValueError(
            f"Task {name!r} has {known.size} training label(s) that never vary, so no std to standardise by; "
            f"pass tasks={{{name!r}: Regression(mean, std)}}."
        )
    return Regression(float(known.mean()), float(known.std()))
