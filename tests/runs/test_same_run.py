"""A run goes on with the data and the components that it began with, by their content."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedmtl.algorithms import FedPer
from fedmtl.client.data_shard import shard_of
from fedmtl.data import from_arrays
from fedmtl.data.base import ClientData, Split
from fedmtl.models import MLP
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.progress import Progress
from fedmtl.runs.same_run import examples_digest


def arrays(seed: int = 0, ids: tuple[int, ...] = (0, 1, 2), change: Callable[[Any], None] | None = None) -> Any:
    draw = np.random.default_rng(seed)
    clients = {i: (draw.standard_normal((8, 4)), {"a": draw.integers(0, 3, 8)}) for i in ids}
    if change is not None:
        change(clients)
    return from_arrays(clients)


def experiment(**changes: Any) -> Experiment:
    values = {"data": arrays(), "model": MLP((3,)), "algorithm": FedPer(epochs=1), "rounds": 3, "runtime": "InProcess"}
    return Experiment(**{**values, **changes})


class Killed(Exception):
    """Stands for the end of the process."""


def begin(folder: Path, finished: bool, made: Experiment) -> Any:
    def kill(progress: Progress) -> None:
        if not finished and progress.round == 2:
            raise Killed

    try:
        return run(made, folder, on_round=kill)
    except Killed:
        return None


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_label(clients: Any) -> None:
    clients[1][1]["a"][0] = (clients[1][1]["a"][0] + 1) % 3


def one_input(clients: Any) -> None:
    clients[2][0][7, 3] += 1e-3


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("other", "named"),
    [
        (arrays(1), "data (the clients' examples)"),
        (arrays(0, change=one_label), "data (the clients' examples)"),
        (arrays(0, change=one_input), "data (the clients' examples)"),
        (arrays(0, (0, 1, 3)), "clients (their ids, tasks or shapes)"),
        (arrays(0, (0, 1, 2, 3)), "clients (their ids, tasks or shapes)"),
    ],
    ids=["all", "a label", "an input", "an id", "one more"],
)
def test_other_data_is_refused_and_the_run_left_alone(finished: bool, other: Any, named: str, tmp_path: Path) -> None:
    begin(tmp_path, finished, experiment())
    before = files(tmp_path)
    with pytest.raises(ValueError) as error:
        run(experiment(data=other), tmp_path, resume=True)
    assert "holds a run with other" in str(error.value) and named in str(error.value) and "--out" in str(error.value)
    assert files(tmp_path) == before


@pytest.mark.parametrize("finished", [True, False])
def test_the_same_data_made_again_goes_on(finished: bool, tmp_path: Path) -> None:
    begin(tmp_path, finished, experiment())
    result = run(experiment(), tmp_path, resume=True)
    assert result.summary["digests"] == run(experiment()).summary["digests"]


@dataclass(frozen=True)
class Scaled:
    """A model with an array among its fields, which no table of plain values can hold."""

    scale: Any = field(default_factory=lambda: np.ones(3, np.float32))
    width: int = 3

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], self.width), nn.Tanh())

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


class Plain:
    """A model that is no dataclass."""

    def __init__(self, width: int = 3, more: Any = None) -> None:
        self.width, self.more = width, more

    trunk, head = Scaled.trunk, Scaled.head


class Wider(Plain):
    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(features, outputs), nn.Identity())


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "make",
    [Scaled, Plain, Wider, lambda: Plain(more={"a": [torch.ones(3)]}), lambda: Plain(more=lambda x: x + 1)],
    ids=["array", "plain class", "derived", "nested tensors", "function"],
)
def test_components_of_the_users_own_go_on(make: Callable[[], Any], finished: bool, tmp_path: Path) -> None:
    begin(tmp_path, finished, experiment(model=make()))
    result = run(experiment(model=make()), tmp_path, resume=True)
    assert result.summary["digests"] == run(experiment(model=make())).summary["digests"]


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        (Scaled(), Scaled(np.zeros(3, np.float32)), "model.scale"),
        (Scaled(), Scaled(width=4), "model.width"),
        (Plain(), Plain(4), "model.width"),
        (Plain(), Wider(), "model"),
        (Plain(more={"a": [torch.ones(3)]}), Plain(more={"a": [torch.zeros(3)]}), "model.more"),
        (Plain(more=lambda x: x + 1), Plain(more=lambda x: x + 2), "model.more"),
    ],
    ids=["array", "number", "attribute", "class", "nested tensor", "function"],
)
def test_other_components_are_refused_by_the_field_that_differs(
    one: Any, other: Any, named: str, tmp_path: Path
) -> None:
    begin(tmp_path, False, experiment(model=one))
    with pytest.raises(ValueError, match="holds a run with ") as error:
        run(experiment(model=other), tmp_path, resume=True)
    assert named in str(error.value) and "\n" not in str(error.value)


def test_a_component_that_cannot_be_compared_is_noted_and_refused_with_the_way_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begin(tmp_path, False, experiment(model=Plain(more=open(__file__))))  # noqa: SIM115
    assert "model cannot be compared on --resume" in caplog.text
    with pytest.raises(
        ValueError, match=r"whose model cannot be compared .*more: .*; give its class a method fingerpr"
    ):
        run(experiment(model=Plain(more=open(__file__))), tmp_path, resume=True)  # noqa: SIM115


def clients_of(count: int, rows: int) -> Mapping[int, ClientData]:
    draw = np.random.default_rng(0)
    x, y = draw.random((count * rows, 3)).astype(np.float32), draw.random(count * rows).astype(np.float32)
    found = {}
    for k in range(count):
        own = {"b": y, "a": y + 1} if k % 3 else {"a": y}
        train, test = (slice(k * rows, k * rows + rows - 1), slice(k * rows + rows - 1, k * rows + rows))
        found[k] = ClientData(*(Split(x[part], {name: v[part] for name, v in own.items()}) for part in (train, test)))
    return found


@pytest.mark.parametrize(("count", "rows"), [(7, 3), (2500, 2)])
def test_joined_arrays_have_the_digest_of_the_same_arrays_apart(count: int, rows: int) -> None:
    clients = clients_of(count, rows)
    assert examples_digest(clients) == examples_digest(shard_of(clients))
    turned = {client: clients[client] for client in reversed(list(clients))}
    assert examples_digest(turned) == examples_digest(clients)


def test_a_digest_is_fast() -> None:
    """256 MB within a quarter of a second, where the machine is free: some 10 GB/s; a twentieth of that passes."""
    x = np.zeros((2**20, 64), np.float32)
    clients = {0: ClientData(Split(x, {"a": x[:, 0].copy()}), Split(x[:1], {"a": x[:1, 0].copy()}))}
    start = time.perf_counter()
    examples_digest(clients)
    assert time.perf_counter() - start < 0.5
