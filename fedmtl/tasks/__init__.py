"""Tasks of clients: kinds of prediction, each with its loss and its metric."""

from fedmtl.tasks.base import Task as Task
from fedmtl.tasks.traits import TaskTraits as TaskTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.tasks.multiclass import MultiClass as MultiClass
from fedmtl.tasks.binary import Binary as Binary
from fedmtl.tasks.regression import Regression as Regression
from fedmtl.tasks.multilabel import MultiLabel as MultiLabel
from fedmtl.tasks.ordinal import Ordinal as Ordinal
from fedmtl.tasks.multi_regression import MultiRegression as MultiRegression
from fedmtl.tasks.huber import Huber as Huber
from fedmtl.tasks.quantile import Quantile as Quantile
from fedmtl.tasks.dense_classes import DenseClasses as DenseClasses
from fedmtl.tasks.dense_regression import DenseRegression as DenseRegression
from fedmtl.tasks.sequence_labels import SequenceLabels as SequenceLabels
