"""A small experiment with any algorithm, of four kinds of task with two sizes of heads."""

from dataclasses import replace
from typing import Any

from fedmtl.algorithms import Algorithm, Mocha
from fedmtl.data import Synthetic
from fedmtl.runs.experiment import Experiment
from tests.conftest import tiny_model

DATA = Synthetic(clients=50, examples=6, test_examples=4, features=4, rank=2, classes=3, kind="mixed", tasks=4)
"""Client c owns the task c mod 4 of multiclass (3 outputs), binary (1), regression (1) and multilabel."""


def experiment(algorithm: Algorithm[Any, Any], clients: int = DATA.clients, **settings: Any) -> Experiment:
    model = tiny_model(algorithm)  # MOCHA has a linear model, for yes or no; FedBN one with norm layers
    values: dict[str, Any] = {
        "name": "every",
        "data": replace(DATA, clients=clients, kind="binary" if isinstance(algorithm, Mocha) else DATA.kind),
        "model": model,
        "algorithm": algorithm,
        "rounds": 2,
        "cohort": 20,
        "batch_size": 4,
        "engine": "loop",
        "runtime": "InProcess",
        **settings,
    }
    return Experiment(**values)
