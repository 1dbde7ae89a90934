"""Balanced accuracy, macro-F1 and mIoU from confusion counts.

With TP_c, the examples of class c that are predicted so, their number S_c, and the number P_c of predictions of c:

    balanced accuracy = mean of TP_c / S_c        over the classes that occur                                       (1)
    macro-F1          = mean of 2 TP_c / (S_c + P_c)   over the classes that occur or are predicted                 (2)
    mIoU              = mean of TP_c / (S_c + P_c − TP_c)   over the same                                           (3)

An output that is not a number is a prediction of no class: it is wrong, and adds no class to any mean.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.base import Confusion
from fedmtl.metrics.checks import row_sums


class Rates(NamedTuple):
    """Rates of each group and class that occurs or is predicted, ascending, [R] each."""

    group: NDArray[np.int64]
    cls: NDArray[np.int64]
    right: NDArray[np.float64]
    """TP."""
    support: NDArray[np.float64]
    """S."""
    predicted: NDArray[np.float64]
    """P."""


def rates(confusion: Confusion, group: NDArray[np.int64]) -> Rates:
    """Counts of each class.

    Args:
        confusion: of K clients.
        group: the group of each entry: its client, or its client and label.
    """
    size = confusion.classes + 1
    truth, predicted = group * size + confusion.truth, group * size + confusion.predicted
    key = np.unique(np.concatenate([truth, predicted]))
    key = key[key % size < confusion.classes]
    named = confusion.predicted < confusion.classes
    same = truth == predicted
    place, counts = np.searchsorted(key, truth), confusion.counts
    return Rates(
        key // size,
        key % size,
        row_sums(place[same], counts[same], len(key)),
        row_sums(place, counts, len(key)),
        row_sums(np.searchsorted(key, predicted[named]), counts[named], len(key)),
    )


def balanced_accuracy(found: Rates, groups: int) -> NDArray[np.float64]:
    """(1), [groups]; NaN of a group without an example."""
    some = found.support > 0
    return means(found.group[some], found.right[some] / found.support[some], groups)


def macro_f1(found: Rates, groups: int) -> NDArray[np.float64]:
    """(2), [groups]; NaN of a group without an example."""
    return means(found.group, 2 * found.right / (found.support + found.predicted), groups)


def miou(found: Rates, groups: int) -> NDArray[np.float64]:
    """(3), [groups]; NaN of a group without an example."""
    return means(found.group, found.right / (found.support + found.predicted - found.right), groups)


def means(group: NDArray[np.int64], values: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """The mean over each group, [groups]; NaN of an empty one."""
    count = np.bincount(group, minlength=groups)
    with np.errstate(invalid="ignore"):
        return np.bincount(group, values, groups) / np.where(count > 0, count, np.nan)
