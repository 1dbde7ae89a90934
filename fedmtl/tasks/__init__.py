"""Tasks of clients: kinds of prediction, each with its loss and its metric."""

from fedmtl.tasks.base import Task as Task
from fedmtl.tasks.binary import Binary as Binary
from fedmtl.tasks.multiclass import MultiClass as MultiClass
from fedmtl.tasks.multilabel import MultiLabel as MultiLabel
from fedmtl.tasks.regression import Regression as Regression
from fedmtl.tasks.traits import TaskTraits as TaskTraits
