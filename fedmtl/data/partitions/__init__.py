"""Partitions: how the examples of one set are dealt to clients. One rule a file."""

from fedmtl.data.partitions.base import Dealt as Dealt
from fedmtl.data.partitions.base import ExampleFacts as ExampleFacts
from fedmtl.data.partitions.base import Partitioner as Partitioner

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.data.partitions.iid import IID as IID
from fedmtl.data.partitions.dirichlet import Dirichlet as Dirichlet
from fedmtl.data.partitions.pathological import Pathological as Pathological
from fedmtl.data.partitions.quantity_skew import QuantitySkew as QuantitySkew
from fedmtl.data.partitions.natural_ids import NaturalIds as NaturalIds
from fedmtl.data.partitions.feature_shift import FeatureShift as FeatureShift
from fedmtl.data.partitions.task_assignment import TaskAssignment as TaskAssignment
