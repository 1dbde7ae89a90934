"""The best constant prediction: what a model that looks at no input reaches."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.tasks.base import Task, output_shape
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.dense_classes import DenseClasses
from fedmtl.tasks.dense_regression import DenseRegression
from fedmtl.tasks.huber import Huber
from fedmtl.tasks.multi_regression import MultiRegression
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.multilabel import MultiLabel
from fedmtl.tasks.ordinal import Ordinal
from fedmtl.tasks.quantile import Quantile
from fedmtl.tasks.regression import Regression
from fedmtl.tasks.sequence_labels import SequenceLabels

TOGETHER = 2**22
"""Numbers of outputs in memory at most, but for one example."""


def constant_sums(task: Task, train: NDArray[Any], test: NDArray[Any]) -> NDArray[np.float64] | None:
    """Sums of the primary metric on test labels, of the prediction that is best for the training labels.

    That is the class that most of them are (of equal ones the lowest), for each label of a ``MultiLabel`` whether most
    are positive, the mean of a regression, the median of ``Huber`` and ``Ordinal``, and quantiles.

    Args:
        task: which.
        train: labels, [N, *label_shape], NaN where not labelled.
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
            output = _constant(task, train)
            return None if output is None else _sums(task, output, test)


def _constant(task: Task, train: NDArray[Any]) -> NDArray[np.float64] | None:
    """The output that predicts the best constant at each place, of ``task.outputs``; None of a user's own task."""
    seen = train[~np.isnan(train)].astype(np.float64)
    match task:
        case Ordinal():
            middle = np.quantile(seen, 0.5, method="inverted_cdf")  # a level, and no number between two
            return np.where(middle > np.arange(task.num_classes - 1), 1.0, -1.0)
        case Huber():
            return np.array([(np.median(seen) - task.mean) / task.std])
        case Quantile():
            return (np.quantile(seen, task.quantiles) - task.mean) / task.std
        case MultiRegression():
            count = (~np.isnan(train)).sum(0)
            mean = np.nansum(train, axis=0, dtype=np.float64) / np.maximum(count, 1)
            return np.where(count > 0, (mean - task.means) / task.stds, 0.0)
        case DenseRegression():
            return np.full(task.outputs, (seen.mean() - task.mean) / task.std)
        case DenseClasses() | SequenceLabels():
            most = np.argmax(np.bincount(seen.astype(np.int64), minlength=task.num_classes))
            one_hot = np.arange(task.num_classes) == most
            return np.broadcast_to(one_hot.reshape(-1, *[1] * len(task.label_shape)), task.outputs).astype(np.float64)
        case _:
            return None


def _sums(task: Task, output: NDArray[np.float64], test: NDArray[Any]) -> NDArray[np.float64]:
    """Sums of the primary metric of one output for all examples."""
    one = torch.from_numpy(output)[None]
    step = max(1, TOGETHER // output.size)
    parts = [torch.from_numpy(np.ascontiguousarray(test[start : start + step])) for start in range(0, len(test), step)]
    shape = output_shape(task.outputs)
    found = [task.sums(one.expand(len(y), *shape), y, torch.ones(len(y))).numpy() for y in parts]
    return np.sum(found, axis=0) if found else np.zeros(1)
