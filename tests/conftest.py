"""What many tests share: two tiny federations of ragged clients, and the lists that the contracts run over."""

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, fields
from functools import cache
from math import prod
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from typer.main import get_command

from fedmtl.algorithms import (
    IFCA,
    MRMTL,
    Algorithm,
    CrossStitch,
    Ditto,
    Ensemble,
    FedAdam,
    FedAMP,
    FedAvg,
    FedAvgM,
    FedBABU,
    FedBN,
    FedEM,
    FedHCA2,
    FedPer,
    FedProx,
    FedRep,
    FedSALoRA,
    FedU,
    FedYogi,
    FFALoRA,
    FlexLoRA,
    FLoRA,
    GraphStructured,
    LGFedAvg,
    Local,
    MaTFL,
    Mocha,
    PFedMe,
    Pooled,
    Scaffold,
    ServerCAGrad,
    ServerPCGrad,
    SoftSharing,
    TaskWeighted,
    Transfer,
)
from fedmtl.codecs import Dense
from fedmtl.core.gc_paused import skip_last_collection
from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.engines import Engine, Loop, VMap
from fedmtl.engines.trace import waits
from fedmtl.models import MLP, Linear, LoRA, Model
from fedmtl.optimizers import Clip, Cosine, Momentum
from fedmtl.protocol.make_plan import make_plan
from fedmtl.protocol.plan import Plan
from fedmtl.registry.components import REGISTRY, find, make
from fedmtl.runtime.ray import cluster
from fedmtl.studies import pool
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression, Task
from fedmtl.weightings import DWA, MGDA, CAGrad, Equal, GradNorm, PCGrad, Uncertainty
from tests import pool_forks, schedule
from tests.built_once import built_anew, built_once
from tests.loggers import let_loggers_propagate
from tests.no_dynamo import leave_optimizers_uncompiled
from tests.no_fsync import leave_files_to_the_kernel
from tests.pictures import undrawn
from tests.runtime import ray_forks

SETTINGS: list[Algorithm[Any, Any]] = [
    Local(epochs=1),
    Ensemble(epochs=1),
    Pooled(epochs=1),
    FedAvg(epochs=2),
    FedPer(epochs=1),
    FedPer(epochs=2, optimizer=Cosine(rounds=4, optimizer=Clip(norm=1.0, optimizer=Momentum()))),
    FedRep(head_epochs=2),
    FedRep(lr=0.05, head_epochs=1, trunk_epochs=2),
    FedProx(epochs=1, mu=0.5),
    LGFedAvg(lr=0.15, epochs=2),
    FedBN(epochs=1),
    SoftSharing(epochs=1, pull=2.0),
    CrossStitch(epochs=1, mix=0.4),
    FedBABU(epochs=1, finetune_epochs=2),
    Transfer(epochs=1, sources=(1, 9), pretrain=1),
    Transfer(epochs=1, sources=(1, 9), pretrain=3),
    MRMTL(lr=0.1, epochs=1, lam=1.0),
    Ditto(epochs=1, personal_epochs=2, lam=1.0),
    PFedMe(epochs=1, steps=2, shared_lr=0.05),
    Scaffold(epochs=1, server_lr=0.75),
    FedAvgM(FedAvg(epochs=1), server_lr=0.5, momentum=0.4),
    FedAdam(FedPer(epochs=1), beta1=0.4, beta2=0.45),
    FedYogi(FedAvg(epochs=1), beta1=0.4, beta2=0.45),
    ServerPCGrad(epochs=1),
    ServerCAGrad(epochs=1),
    MaTFL(epochs=1, groups=1),
    FedU(epochs=1, beta=1.0, edges=("9-0", "9-1:0.5", "9-4:2")),
    FedAMP(lr=0.1, epochs=1, sigma=5.0),
    IFCA(epochs=1, clusters=3, spread=1.0),  # so far apart that clients of unlike tasks share a cluster
    FedEM(epochs=1, components=2, spread=0.5),
    FedHCA2(epochs=1),
    FedSALoRA(epochs=2),
    GraphStructured(epochs=1, groups=("0 4",), edges=("1-9:0.5", "0-9"), common=("trunk.1.bias",)),
    *[
        TaskWeighted(FedPer(epochs=1), each)
        for each in (Equal(), Uncertainty(), GradNorm(), MGDA(), PCGrad(), CAGrad(0.3), DWA())
    ],
    Mocha(epochs=2, floor=0.05),
]
"""Algorithms in settings in which all of their parts have an effect on the tiny federations."""


def in_one_epoch(cls: Any) -> Algorithm[Any, Any]:
    named = {field.name for field in fields(cls)}
    return cls(epochs=1) if "epochs" in named else cls(FedAvg(epochs=1)) if "algorithm" in named else cls()


ALL_ALGORITHMS: list[Algorithm[Any, Any]] = [
    *SETTINGS,
    *(
        in_one_epoch(find("algorithm", name))
        for name in REGISTRY["algorithm"]
        if name not in {type(algorithm).__name__ for algorithm in SETTINGS}
    ),
    *(
        TaskWeighted(FedPer(epochs=1), make("weighting", name))
        for name in REGISTRY["weighting"]
        if name not in {type(each.weighting).__name__ for each in SETTINGS if isinstance(each, TaskWeighted)}
    ),
]
"""Every registered algorithm, and every weighting in one, under the contract of tests/algorithms/test_contract.py."""

ALL_ENGINES: list[Engine] = [Loop(), VMap(), VMap(chunk=1), VMap(chunk=2)]
"""Every engine, under the contract of tests/engines/test_contract.py."""

START = pool._start

skip_last_collection()  # of a process of tests
gc.disable()  # until all tests are collected: their million objects stay, and would be searched again and again

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's default, 15, would starve them beside other tests

leave_files_to_the_kernel()
leave_optimizers_uncompiled()
mock.patch("typer.testing._get_command", cache(get_command)).start()  # it reads the signatures of all commands

if "PYTEST_XDIST_WORKER" in os.environ:  # a core for each process of tests
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that they start, too
    os.environ.pop("COLUMNS", None)  # xdist sets it, and commands would write for a terminal


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out slow tests, and most cases of parametrised ones")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what ``--fast`` does, unless it is named."""
    if not config.getoption("fast") or not collection_path.is_relative_to(config.rootpath):
        return None
    return schedule.is_left_out(collection_path.relative_to(config.rootpath).as_posix()) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("fast"):
        kept = schedule.fast(items)
        config.hook.pytest_deselected(items=list(set(items) - set(kept)))
        items[:] = kept
    if "PYTEST_XDIST_WORKER" in os.environ:
        schedule.sort(items)


def pytest_collection_finish() -> None:
    let_loggers_propagate()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return schedule.scheduler(config, log)


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


def tiny(owners: Mapping[ClientId, TaskSet], seed: int = 0, binary: bool = False) -> Federation:
    """Inputs [N, 5] with N of ``SIZES``; labels of a linear map that is each client's own, a tenth of them missing.

    Where ``binary``, each task is a yes or no, under the same name.
    """
    clients = {}
    for client, owned in owners.items():
        draw = np.random.default_rng([seed, client])
        w = draw.standard_normal((5, 3)).astype(np.float32)
        parts = []
        for rows in (SIZES[client], 4):
            x = draw.standard_normal((rows, 5)).astype(np.float32)
            z = x @ w
            labels = {"amount": z[:, 0], "flag": z[:, 1] > 0, "kind": z.argmax(1), "marks": z[:, 1:] > 0}
            if binary:
                labels |= {"amount": z[:, 0] > 0, "kind": z[:, 2] > 0, "marks": z[:, 0] + z[:, 1] > 0}
            y = {task: labels[task].astype(np.float32) for task in owned}
            for values in y.values():
                values[1:][draw.random(values[1:].shape) < 0.1] = np.nan
            parts.append(Split(x, y))
        clients[client] = ClientData(*parts)
    names = {task for owned in owners.values() for task in owned}
    return Federation({name: Binary() if binary else TASKS[name] for name in names}, (5,), clients)


def is_binary(algorithm: Algorithm[Any, Any]) -> bool:
    """Whether the algorithm is for binary tasks alone."""
    return isinstance(algorithm, Mocha)


def _binary(request: pytest.FixtureRequest) -> bool:
    """Whether the test is of an algorithm that is for binary tasks alone."""
    return "algorithm" in request.fixturenames and is_binary(request.getfixturevalue("algorithm"))


@dataclass(frozen=True)
class Normed:
    """A hidden layer of 6 with a norm layer."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), 6), nn.LayerNorm(6), nn.ReLU())

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


ADAPTED = (FFALoRA, FedSALoRA, FlexLoRA, FLoRA)
"""Algorithms of adapters."""


def tiny_model(algorithm: Algorithm[Any, Any]) -> Model:
    """With a norm layer or adapters where the algorithm needs them, without a hidden layer where it must not be."""
    if isinstance(algorithm, Mocha):
        return Linear(intercept=False)
    if isinstance(algorithm, ADAPTED):
        return LoRA(MLP((6,)), rank=3)
    return Normed() if isinstance(algorithm, FedBN) else MLP((6,))


def tiny_plan(
    federation: Federation,
    algorithm: Algorithm[Any, Any],
    batch_size: int | None = 4,
    model: Model | None = None,
    anew: bool = False,
) -> Plan:
    """With a hidden layer of 6 and nothing lost on the way; its module is built where none of its kind was, or anew."""
    with built_anew() if anew else nullcontext():
        return make_plan(
            federation.schema,
            algorithm=algorithm,
            model=model or tiny_model(algorithm),
            up_codec=Dense(),
            down_codec=Dense(),
            batch_size=batch_size,
            seed=0,
            train_loss=True,
        )


@pytest.fixture(scope="session", autouse=True)
def modules_built_once() -> Iterator[None]:
    """Plans of equal models and tasks have copies of one module."""
    with built_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests measure and keep is no user's, and what a user has measured must not decide what a test sees."""
    if "FEDMTL_CACHE" in os.environ:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDMTL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def ray_of_the_tests() -> Iterator[None]:
    """Workers of a Ray cluster that a process of tests starts are forks, from the first cluster on.

    Ray ends with the last test: what its processes print then is captured, and pytest's summary is the last line.
    """
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        begin = cluster._start_head

        def forking() -> None:
            patch.undo()
            stack.enter_context(ray_forks.forked_workers())
            begin()

        patch.setattr(cluster, "_start_head", forking)
        yield
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            ray.shutdown()


@pytest.fixture(scope="session", autouse=True)
def pools_of_the_tests() -> Iterator[None]:
    """Processes of pools that a process of tests has are forks; ``true_pools`` undoes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_start", pool_forks.start)
        yield


@pytest.fixture
def true_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools have processes with a true start."""
    monkeypatch.setattr(pool, "_start", START)


@pytest.fixture
def no_pictures() -> Iterator[None]:
    """Reports have all but what is drawn."""
    with undrawn():
        yield


@pytest.fixture
def traced_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions are traced at their second call, so that the fourth of four rounds is a replay."""
    monkeypatch.setattr(waits, "WAIT_SMALL", 1)


@pytest.fixture
def alike(request: pytest.FixtureRequest) -> Federation:
    """Four clients with the same two tasks."""
    return tiny(ALIKE, binary=_binary(request))


@pytest.fixture
def unlike(request: pytest.FixtureRequest) -> Federation:
    """Four clients with four tasks: two alike, one that shares a task with them, one that shares none."""
    return tiny(UNLIKE, binary=_binary(request))


@pytest.fixture(params=[ALIKE, UNLIKE], ids=["alike", "unlike"])
def federation(request: pytest.FixtureRequest) -> Federation:
    """Each of the two."""
    return tiny(request.param, binary=_binary(request))


@pytest.fixture(params=ALL_ALGORITHMS, ids=repr)
def algorithm(request: pytest.FixtureRequest) -> Algorithm[Any, Any]:
    return request.param


@pytest.fixture(params=ALL_ENGINES, ids=repr)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param
