"""A small experiment with any algorithm, of four kinds of task with two sizes of heads."""

from dataclasses import replace
from typing import Any

from fedmtl.algorithms import Algorithm, Mocha
from fedmtl.runs.experiment import Experiment
from tests import toys
from tests.conftest import tiny_model
from tests.runtime.planned_once import PlannedOnce
from tests.toys import mixed

DATA = mixed(clients=50, test_examples=4, classes=3, tasks_per_client=1)
"""Client c owns the task c mod 4 of multiclass (3 outputs), binary (1), regression (1) and multilabel."""


def experiment(algorithm: Algorithm[Any, Any], clients: int = DATA.clients, **settings: Any) -> Experiment:
    model = tiny_model(algorithm)  # MOCHA has a linear model, for yes or no; FedBN one with norm layers
    values = {
        "name": "every",
        "data": replace(DATA, clients=clients, kind="binary" if isinstance(algorithm, Mocha) else DATA.kind),
        "model": model,
        "algorithm": algorithm,
        "rounds": 2,
        "cohort": 20,
    }
    return toys.experiment(PlannedOnce, **{**values, **settings})
