"""Partitions in data sets and presets."""

import numpy as np

from fedmtl.data import Digits, Federation
from fedmtl.data.partitions import FeatureShift, Pathological, TaskAssignment
from fedmtl.runs.experiment import Experiment, from_dict


def rows_of(federation: Federation) -> list[bytes]:
    return [split.x.tobytes() + split.y["digit"].tobytes() for data in federation.clients.values() for split in data]


def test_a_preset_names_a_partition() -> None:
    """``Pathological(2)`` deals as ``classes=2`` does, and comes back from the experiment's table."""
    table = {"name": "digits", "clients": 10, "tasks": ["digit"], "partition": "Pathological(classes=2)"}
    experiment = from_dict({"data": table})
    assert experiment.data.partition == Pathological(2)
    assert from_dict(experiment.to_dict()) == experiment and Experiment(data=Digits(partition="IID")).to_dict()
    one, other = experiment.load(), Digits(clients=10, tasks=("digit",), classes=2).load(0)
    assert rows_of(one) == rows_of(other)


def test_digits_are_shifted_and_tasks_assigned() -> None:
    """All images are turned but those of the client in the middle, whose level is ½."""
    partition = TaskAssignment(1, FeatureShift("rotation", 90.0))
    found, plain = (Digits(clients=5, partition=rule).load(0) for rule in (partition, "IID"))
    assert [len(data.tasks) for data in found.clients.values()] == [1] * 5
    assert {task for data in found.clients.values() for task in data.tasks} == set(found.tasks)
    alike = [np.allclose(found.clients[k].train.x, plain.clients[k].train.x, atol=1e-5) for k in range(5)]
    assert sum(alike) == 1
