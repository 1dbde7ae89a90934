"""The statistics of each kind of task."""

from fedmtl.metrics.base import MetricKind
from fedmtl.metrics.classes import Classes
from fedmtl.metrics.labels import Labels
from fedmtl.metrics.numbers import RegressionStatistics
from fedmtl.tasks.base import Task
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.multilabel import MultiLabel
from fedmtl.tasks.regression import Regression


def kind_of(task: Task) -> MetricKind | None:
    """The statistics of a task; None of a task of the user's own, which has its primary metric alone."""
    match task:
        case MultiClass():
            return Classes(task.num_classes)
        case Binary():
            return Labels(1, several=False)
        case MultiLabel():
            return Labels(task.num_labels, several=True)
        case Regression():
            return RegressionStatistics(task.mean, task.std)
        case _:
            return None
