"""Bytes that a codec saves, and the score that it costs: each compressed experiment against its own dense one."""

from collections.abc import Sequence
from math import isfinite, nan
from typing import NamedTuple

import numpy as np

from fedmtl.analysis.differences import Difference, paired_difference, peers
from fedmtl.analysis.groups import Group

MOST_LOST = 0.01
"""A mean score that is at most this much lower counts as kept."""

NEARLY = 0.9
"""Savings from this part of the largest on are nearly equal to it."""


class Saving(NamedTuple):
    """One compressed experiment."""

    dense: Group
    small: Group
    dense_bytes: float
    """Training bytes in both directions; mean over seeds."""
    small_bytes: float
    difference: Difference
    """Mean score, compressed − dense."""

    @property
    def times(self) -> float:
        """Factor by which there are fewer bytes."""
        return self.dense_bytes / self.small_bytes if self.small_bytes else nan


def savings(groups: Sequence[Group]) -> list[Saving]:
    """All compressed groups of one problem that share a finished seed with their algorithm's dense one."""
    dense = [group for group in groups if not group.codec]
    found = []
    for small in groups:
        same = peers(small, [group for group in dense if group.algorithm == small.algorithm]) if small.codec else []
        for own in same[:1]:
            if {run.seed for run in own.finished} & {run.seed for run in small.finished}:
                difference = paired_difference(small.runs, own.runs)
                found.append(Saving(own, small, _sent(own), _sent(small), difference))
    return found


def _sent(group: Group) -> float:
    return float(np.mean([run.training_bytes() for run in group.finished]))


def best_saving(found: Sequence[Saving], most_lost: float = MOST_LOST) -> Saving | None:
    """The largest saving that keeps the score, of nearly equal ones the surest; None where none does."""
    kept = [saving for saving in found if saving.difference.mean >= -most_lost and isfinite(saving.times)]
    most = max((saving.times for saving in kept), default=0.0)
    return max((saving for saving in kept if saving.times >= NEARLY * most), key=_surely, default=None)


def _surely(saving: Saving) -> float:
    """The least that the difference is likely to be."""
    return saving.difference.mean if saving.difference.low is None else saving.difference.low
