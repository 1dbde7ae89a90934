"""The task that an array of labels belongs to, where it is not given."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.numbers import with_gaps
from fedmtl.tasks.base import Task
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.multilabel import MultiLabel
from fedmtl.tasks.regression import Regression
from fedmtl.tasks.standardise import spread

FEW = 20
"""Distinct values up to which whole numbers of a float type are never taken for amounts."""
MANY = 100
"""Distinct values up to which whole numbers of a float type are taken for classes."""


def with_nan(where: str, y: NDArray[Any], missing: float | None) -> NDArray[Any]:
    """The labels with NaN where they equal ``missing``; y itself when that changes nothing."""
    if missing is None or np.isnan(missing):
        return y
    gaps = y == missing
    return with_gaps(where, y, gaps).array if gaps.any() else y


def infer_task(name: str, labels: Sequence[NDArray[Any]], whole: bool) -> Task | None:
    """The task of the labels of all clients that own it, or None for a ``Regression`` yet to be standardised.

    The rules are those of ``from_arrays``.

    Args:
        name: of the task, for messages.
        labels: of each client that owns it, [N] or [N, columns], NaN where not labelled; finite elsewhere.
        whole: whether the arrays of a client were of a type of whole numbers.

    Raises:
        ValueError: no label at all, shapes that differ between clients, columns of something else than 0 and 1, or
            values that may be classes or amounts: a question that names the ways out.
    """
    shapes: set[tuple[int, ...]] = {y.shape[1:] for y in labels}
    if len(shapes) > 1:
        raise ValueError(f"Task {name!r}: labels of one example have shapes {sorted(shapes)}; they must be alike.")
    shape = shapes.pop()
    joined = np.concatenate(labels)
    known = joined[~np.isnan(joined)]
    if known.size == 0:
        raise ValueError(f"Task {name!r} has no label to infer its kind from; pass tasks={{{name!r}: …}}.")
    values = np.unique(known)
    zero_one = bool(np.isin(values, (0, 1)).all())
    if len(shape) == 1 and zero_one:
        return MultiClass(shape[0]) if shape[0] > 1 and one_hot(joined) else MultiLabel(shape[0])
    if shape:
        raise ValueError(_question_of_shape(name, shape, values))
    if zero_one or values.tolist() == [-1, 1]:
        return Binary()
    if (values != np.floor(values)).any():
        return None
    classes = int(values[-1]) + 1
    if values[0] >= 0 and classes <= 2**24 and _are_classes(classes, len(values), known.size, whole):
        return MultiClass(classes)
    if not whole and _are_amounts(values, known.size):
        return None
    raise ValueError(_question(name, values, known))


def one_hot(y: NDArray[Any]) -> bool:
    """True where each row [N, classes] is a 1 among 0, or not labelled, and one is labelled."""
    known = ~np.isnan(y).all(1)
    rows = y[known]
    return bool(len(rows) and np.isin(rows, (0, 1)).all() and (rows.sum(1) == 1).all())


def _are_classes(classes: int, distinct: int, labels: int, whole: bool) -> bool:
    """True where values from 0 to classes − 1 are classes: dense enough, and each seen more than once where many."""
    if whole:
        return classes <= 10 * distinct and (distinct <= 256 or labels >= 2 * distinct)
    return classes <= 2 * distinct and distinct <= MANY and labels >= 2 * distinct


def _are_amounts(values: NDArray[Any], labels: int) -> bool:
    """True if whole numbers of a float type are no classes: many and sparse, or hardly any twice, or of both signs."""
    negative = int((values < 0).sum())
    if np.abs(values).max() > 2**24:  # and so of a float type that has no fractions there
        return True
    if len(values) <= FEW or negative == 1:
        return False
    return negative > 1 or values[-1] + 1 > 10 * len(values) or labels < 2 * len(values)


def _question(name: str, values: NDArray[Any], known: NDArray[Any]) -> str:
    """Classes, a code for "not labelled", or numbers to predict: the ways to distinguish them, in one line."""
    low, high = int(values[0]), int(values[-1])
    negative = int((values < 0).sum())
    ways = []
    codes = [low] if negative == 1 else []
    if not negative and len(values) > 2 and high > 10 * (values[-2] + 1):
        codes = [high]
    elif not negative and len(values) > 2 and int(values[-2]) + 1 <= 2 * (len(values) - 1) < high + 1:
        codes = [high]
    if codes:
        ways.append(f"missing={codes[0]} if that stands for 'not labelled'")
    if low < 0:
        ways.append(f"labels + {-low} with tasks={{{name!r}: MultiClass({high - low + 1})}} if all are classes")
    elif high < 2**24:
        ways.append(f"tasks={{{name!r}: MultiClass({high + 1})}} if they are classes")
    else:
        ways.append("classes numbered from 0 if they are classes")
    mean, std = float(np.mean(known, dtype=np.float64)), float(np.std(known, dtype=np.float64))
    ways.append(f"tasks={{{name!r}: Regression({mean:.6g}, {std or 1.0:.6g})}} if they are numbers to predict")
    return (
        f"Task {name!r} has whole numbers from {low} to {high}, {len(values)} distinct ones in {known.size} labels, of "
        f"which the kind is not clear; pass {', or '.join(ways)}."
    )


def _question_of_shape(name: str, shape: tuple[int, ...], values: NDArray[Any]) -> str:
    """Labels of a shape, that are no columns of 0 and 1: the kinds that they can be, in one line."""
    low, high = values[0], values[-1]
    classes = max(2, int(high) + 1) if 0 <= low and high < 2**16 and (values == np.floor(values)).all() else 0
    if len(shape) == 1:
        kinds = [f"MultiRegression({shape[0]}, standardise=True)}} if they are numbers to predict"]
        kinds += [f"SequenceLabels({classes}, {shape[0]})}} if they are classes of steps"] if classes else []
        last = ", or make each column a task of its own"
    else:
        kinds = [f"DenseRegression({shape}, standardise=True)}} if they are numbers to predict"]
        kinds += [f"DenseClasses({classes}, {shape})}} if they are classes of places"] if classes else []
        last = ""
    ways = ", or ".join(f"tasks={{{name!r}: {kind}" for kind in kinds)
    return (
        f"Task {name!r} has labels of shape (N, {', '.join(map(str, shape))}) that are not columns of 0 and 1; pass "
        f"{ways}{last}."
    )


def to_form(task: Task, labels: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The labels of all clients in the form that their task takes.

    A column [N, 1] becomes [N], one-hot rows become classes, and −1 and 1 become 0 and 1 where no client has a 0.
    """
    if task.label_shape == ():
        if isinstance(task, MultiClass) and all(y.ndim == 2 and y.shape[1] == task.num_classes for y in labels):
            if one_hot(np.concatenate(labels)):
                labels = [np.where(np.isnan(y).any(1), np.nan, np.where(np.isnan(y), 0, y).argmax(1)) for y in labels]
        labels = [y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y for y in labels]
    if isinstance(task, Binary) and not any((y == 0).any() for y in labels):
        labels = [np.where(y == -1, 0, y) for y in labels]
    return list(labels)


def infer_regression(name: str, labels: Sequence[NDArray[Any]]) -> Regression:
    """The regression that is standardised by the mean and std of these labels, NaN where not labelled.

    Raises:
        ValueError: no label, or all equal.
    """
    count, mean, std = spread(labels)
    if not std > 0:
        raise ValueError(
            f"Task {name!r} has {count} training label(s) that never vary, so no std to standardise by; "
            f"pass tasks={{{name!r}: Regression(mean, std)}}."
        )
    return Regression(mean, std)
