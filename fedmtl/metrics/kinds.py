"""The statistics of each kind of task."""

from math import prod

from fedmtl.metrics.base import MetricKind
from fedmtl.metrics.classes import Classes
from fedmtl.metrics.entries import EntryStatistics
from fedmtl.metrics.labels import Labels
from fedmtl.metrics.levels import Levels
from fedmtl.metrics.numbers import RegressionStatistics
from fedmtl.metrics.positions import Positions
from fedmtl.metrics.quantiles import QuantileStatistics
from fedmtl.metrics.robust import HuberStatistics
from fedmtl.tasks.base import Task
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
        case Ordinal():
            return Levels(task.num_classes)
        case MultiRegression():
            return EntryStatistics(task.means, task.stds, places=1)
        case DenseRegression():
            return EntryStatistics((task.mean,), (task.std,), places=prod(task.shape))
        case Huber():
            return HuberStatistics(task.mean, task.std, task.delta)
        case Quantile():
            return QuantileStatistics(tuple(task.quantiles), task.mean, task.std)
        case DenseClasses():
            return Positions(task.num_classes, prod(task.shape), by_class=True)
        case SequenceLabels():
            return Positions(task.num_classes, task.length, by_class=False)
        case _:
            return None
