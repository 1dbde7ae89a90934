"""The small federation and the experiment of milliseconds that tests vary."""

from typing import Any

from fedmtl.algorithms import FedAvg
from fedmtl.data import Synthetic
from fedmtl.models import MLP
from fedmtl.runs.experiment import Experiment

ALIKE = Synthetic(clients=6, examples=12, test_examples=6, features=4, rank=2, tasks=2)
"""Clients of equal size, each with one of two tasks of one kind."""


def mixed(**changes: Any) -> Synthetic:
    """Clients with two each of four tasks of four kinds: client c owns tasks c and c + 1 of multiclass_0, binary_1,
    regression_2, multilabel_3."""
    values = {"clients": 5, "examples": 6, "test_examples": 3, "features": 4, "rank": 2, "tasks_per_client": 2}
    return Synthetic(**{**values, "kind": "mixed", **changes})


def experiment(kind: type[Experiment] = Experiment, /, **changes: Any) -> Experiment:
    """Three rounds of FedAvg with the reference engine in this process, on ``ALIKE``."""
    values: dict[str, Any] = {
        "name": "toy",
        "data": ALIKE,
        "model": MLP((3,)),
        "algorithm": FedAvg(lr=0.05, epochs=1),
        "rounds": 3,
        "batch_size": 4,
        "runtime": "InProcess",
        "engine": "loop",
        **changes,
    }
    return kind(**values)
