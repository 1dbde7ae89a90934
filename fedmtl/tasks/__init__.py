"""Tasks of clients: kinds of prediction, each with its loss and its metric."""

from fedmtl.tasks.base import Task as Task
from fedmtl.tasks.traits import TaskTraits as TaskTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.tasks.multiclass import MultiClass as MultiClass
from fedmtl.tasks.binary import Binary as Binary
from fedmtl.tasks.regression import Regression as Regression
from fedmtl.tasks.multilabel import MultiLabel as MultiLabel
