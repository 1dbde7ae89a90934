"""Clients and tasks held out: the parts of a federation are all of it, and nothing of a held-out one is trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl import MLP, Experiment, FedPer, Synthetic, Without, from_arrays, hold_out, load_result, run
from fedmtl.data import Federation
from fedmtl.runs.experiment import from_dict
from tests.toys import mixed


def named() -> Federation:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((3, 10, 4))
    y = {name: {"up": x[k, :, 0] > 0, "sum": x[k].sum(1)} for k, name in enumerate("abc")}
    y["c"].pop("up")
    return from_arrays({name: (x[k], y[name]) for k, name in enumerate("abc")}).load(0)


@pytest.mark.parametrize("federation", [named(), mixed().load(0)], ids=["one by one", "joined"])
def test_the_parts_are_the_whole(federation: Federation) -> None:
    """By client, and by task: each example and label is in one of them, under its number and name."""
    some = federation.ids().tolist()[1:3]
    rest, held = hold_out(federation, clients=some)
    assert held.ids().tolist() == some and set(rest.ids()) | set(some) == set(federation.ids())
    for client, data in federation.clients.items():
        part = held if client in some else rest
        assert part.clients[client].tasks == data.tasks
        for one, other in zip(part.clients[client], data, strict=True):
            assert np.array_equal(one.x, other.x)
            assert all(np.array_equal(one.y[task], other.y[task], equal_nan=True) for task in data.tasks)
    task = sorted(federation.tasks)[0]
    rest, held = hold_out(federation, tasks=task)
    assert set(held.tasks) == {task} and set(rest.tasks) == set(federation.tasks) - {task}
    for client, data in federation.clients.items():
        assert (client in held.clients) == (task in data.tasks)
        if client in rest.clients:
            assert rest.clients[client].tasks == tuple(one for one in data.tasks if one != task)
    assert rest.client_names == {
        client: name for client, name in federation.client_names.items() if client in rest.ids()
    }


def test_a_preset_holds_out(tmp_path: Path) -> None:
    """By name or number; the folder of a run says it, and the run has no row of the client."""
    data = Without(Synthetic(clients=4, examples=6, test_examples=3, features=3, rank=2), clients=(2, "0"))
    experiment = Experiment(data=data, model=MLP((3,)), algorithm=FedPer(epochs=1), rounds=1, runtime="InProcess")
    assert from_dict(experiment.to_dict()) == experiment
    text = "Without(Synthetic(clients=4, examples=6, test_examples=3, features=3, rank=2), clients=[2, '0'])"
    assert Experiment(data=text).data == data
    run(experiment, tmp_path)
    assert {row["client"] for row in load_result(tmp_path).rows} == {1, 3, None}
    assert data.held_out(0).ids().tolist() == [0, 2]


def test_what_cannot_be_held_out() -> None:
    federation = named()
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "takes clients or tasks, got clients=[] and tasks=[]"),
        ({"clients": ["a"], "tasks": ["up"]}, "for both, hold out twice"),
        ({"clients": ["d"]}, "The data has no client 'd'; its 3 are a, b, c."),
        ({"clients": [7]}, "The data has no client 7"),
        ({"clients": ["a", "b", "c"]}, "All 3 clients are held out"),
        ({"tasks": ["usp"]}, "has no task 'usp'; its tasks are sum, up. Did you mean up?"),
        ({"tasks": ["sum", "up"]}, "All tasks, sum, up, are held out"),
    ]
    for given, message in cases:
        with pytest.raises(ValueError) as found:
            hold_out(federation, **given)
        assert message in str(found.value).replace("up, sum", "sum, up"), found.value
