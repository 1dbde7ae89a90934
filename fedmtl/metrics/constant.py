"""The best constant prediction: what a model that looks at no input reaches."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.tasks.base import Task
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.multilabel import MultiLabel
from fedmtl.tasks.regression import Regression


def constant_sums(task: Task, train: NDArray[Any], test: NDArray[Any]) -> NDArray[np.float64] | None:
    """Sums of the primary metric on test labels, of the prediction that is best for the training labels.

    That is the class that most of them are (of equal ones the lowest), for each label of a ``MultiLabel`` whether most
    are positive, and the mean of a regression.

    Args:
        task: which.
        train: labels, [N] or [N, labels], NaN where not labelled.
        test: the same of the examples that are measured.

    Returns:
        None without a training label, or for a task of the user's own.
    """
    known = ~np.isnan(train)
    if not known.any():
        return None
    seen, there = train[known], ~np.isnan(test)
    match task:
        case MultiClass() | Binary():
            classes, counts = np.unique(seen, return_counts=True)
            right = test == classes[np.argmax(counts)]
            return np.array([there.sum(), right.sum()], np.float64)
        case MultiLabel():
            yes = 2 * np.nansum(train, axis=0) > known.sum(0)
            positive = test == 1
            hits, lost = (positive & yes).sum(), (positive & ~yes).sum()
            return np.array([there.any(1).sum(), hits, (there & ~positive & yes).sum(), lost], np.float64)
        case Regression():
            errors = (test[there].astype(np.float64) - seen.mean(dtype=np.float64)) / task.std
            return np.array([len(errors), (errors**2).sum()])
        case _:
            return None
