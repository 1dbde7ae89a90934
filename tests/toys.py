"""An experiment of milliseconds for tests of what happens around a run."""

from typing import Any

from fedmtl.algorithms import FedAvg
from fedmtl.data import Synthetic
from fedmtl.models import MLP
from fedmtl.runs.experiment import Experiment


def experiment(**changes: Any) -> Experiment:
    """Six clients, two tasks, three rounds of the reference engine in this process."""
    values: dict[str, Any] = {
        "name": "toy",
        "data": Synthetic(clients=6, examples=12, test_examples=6, features=4, rank=2, tasks=2),
        "model": MLP((3,)),
        "algorithm": FedAvg(lr=0.05, epochs=1),
        "rounds": 3,
        "batch_size": 4,
        "runtime": "InProcess",
        "engine": "loop",
        **changes,
    }
    return Experiment(**values)
