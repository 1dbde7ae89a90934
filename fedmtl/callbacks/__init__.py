"""Callbacks: a run's rows, live and after the fact, for TensorBoard, MLflow and CSV."""

from fedmtl.callbacks.base import Callback as Callback
from fedmtl.callbacks.base import MissingPackage as MissingPackage
from fedmtl.callbacks.base import RunInfo as RunInfo

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.callbacks.tensorboard import TensorBoard as TensorBoard
from fedmtl.callbacks.mlflow import MLflow as MLflow
from fedmtl.callbacks.csv_file import CSV as CSV
