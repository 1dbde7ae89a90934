"""What many tests share: two tiny federations of ragged clients, and the lists that the contracts run over."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from fedmtl.algorithms import Algorithm, FedAvg, FedPer, FedRep, Local, Pooled
from fedmtl.codecs import Dense
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.engines import Engine, Loop, VMap
from fedmtl.federation.plan import Plan, make_plan
from fedmtl.models import MLP
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression, Task
from fedmtl.types import ClientId, TaskSet

ALL_ALGORITHMS: list[Algorithm[Any, Any]] = [
    Local(epochs=2),
    Pooled(epochs=2),
    FedAvg(epochs=2),
    FedPer(epochs=2),
    FedRep(head_epochs=2),
    FedRep(lr=0.05, head_epochs=1, trunk_epochs=2),
]
"""Every algorithm, under the contract of tests/algorithms/test_contract.py. A new algorithm is a new line."""

ALL_ENGINES: list[Engine] = [Loop(), VMap(), VMap(chunk=1), VMap(chunk=2)]
"""Every engine, under the contract of tests/engines/test_contract.py."""

SIZES: dict[ClientId, int] = {0: 3, 1: 7, 4: 8, 9: 10}
"""Training examples of the four clients: 1, 2, 2 and 3 batches of 4, some of which are not full."""

TASKS: dict[str, Task] = {
    "amount": Regression(std=2.0),
    "flag": Binary(),
    "kind": MultiClass(3),
    "marks": MultiLabel(2),
}

ALIKE: dict[ClientId, TaskSet] = dict.fromkeys(SIZES, ("amount", "kind"))
UNLIKE: dict[ClientId, TaskSet] = {0: ("kind",), 1: ("kind",), 4: ("amount", "kind"), 9: ("flag", "marks")}


def tiny(owners: Mapping[ClientId, TaskSet], seed: int = 0) -> Federation:
    """Inputs [N, 5] with N of ``SIZES``; labels of a linear map that is each client's own, a tenth of them missing."""
    clients = {}
    for client, owned in owners.items():
        draw = np.random.default_rng([seed, client])
        w = draw.standard_normal((5, 3)).astype(np.float32)
        parts = []
        for rows in (SIZES[client], 4):
            x = draw.standard_normal((rows, 5)).astype(np.float32)
            z = x @ w
            labels = {"amount": z[:, 0], "flag": z[:, 1] > 0, "kind": z.argmax(1), "marks": z[:, 1:] > 0}
            y = {task: labels[task].astype(np.float32) for task in owned}
            for values in y.values():
                values[1:][draw.random(values[1:].shape) < 0.1] = np.nan
            parts.append(Split(x, y))
        clients[client] = ClientData(*parts)
    names = {task for owned in owners.values() for task in owned}
    return Federation({name: TASKS[name] for name in names}, (5,), clients)


def tiny_plan(federation: Federation, algorithm: Algorithm[Any, Any], batch_size: int | None = 4) -> Plan:
    """With a hidden layer of 6 and nothing lost on the way."""
    return make_plan(
        federation.schema,
        algorithm=algorithm,
        model=MLP((6,)),
        up_codec=Dense(),
        down_codec=Dense(),
        batch_size=batch_size,
        seed=0,
    )


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests measure and keep is no user's, and what a user has measured must not decide what a test sees."""
    if "FEDMTL_CACHE" in os.environ:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDMTL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def alike() -> Federation:
    """Four clients with the same two tasks."""
    return tiny(ALIKE)


@pytest.fixture
def unlike() -> Federation:
    """Four clients with four tasks: two alike, one that shares a task with them, one that shares none."""
    return tiny(UNLIKE)


@pytest.fixture(params=[ALIKE, UNLIKE], ids=["alike", "unlike"])
def federation(request: pytest.FixtureRequest) -> Federation:
    """Each of the two."""
    return tiny(request.param)


@pytest.fixture(params=ALL_ALGORITHMS, ids=repr)
def algorithm(request: pytest.FixtureRequest) -> Algorithm[Any, Any]:
    return request.param


@pytest.fixture(params=ALL_ENGINES, ids=repr)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param
