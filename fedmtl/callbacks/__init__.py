"""Callbacks: a run's rows, live and after the fact, for TensorBoard, MLflow and CSV."""

from fedmtl.callbacks.base import Callback as Callback
from fedmtl.callbacks.base import MissingPackage as MissingPackage
from fedmtl.callbacks.base import RunInfo as RunInfo
