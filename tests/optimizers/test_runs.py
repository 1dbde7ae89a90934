"""Optimisers in algorithms and in whole runs: every call is given them, and every node knows the round."""

import dataclasses
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.algorithms import Algorithm, FedAvg, FedAvgM, FedPer, Local, Pooled, TaskWeighted
from fedmtl.core.trees import sha256, tree_leaves
from fedmtl.core.types import Params
from fedmtl.data.base import Federation
from fedmtl.optimizers import Clip, Cosine, Momentum, Warmup, WeightDecay
from fedmtl.optimizers.traits import OptimizerTraits
from fedmtl.protocol.plan import Plan
from fedmtl.registry.components import REGISTRY, find
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.progress import Progress
from tests import toys
from tests.algorithms.rounds import jobs, play, start
from tests.conftest import ALL_ALGORITHMS, tiny_plan
from tests.engines.jobs import alone
from tests.toys import mixed

PLAIN = {"Scaffold", "PFedMe"}
"""Algorithms whose descent is plain gradient steps by what they are."""


@dataclass(frozen=True)
class Still:
    """Nobody moves."""

    traits = OptimizerTraits()

    def init(self, params: Params) -> tuple[()]:
        return ()

    def direction(self, state: tuple[()], gradient: Params, params: Params, round: Tensor) -> tuple[Params, tuple[()]]:
        return {name: torch.zeros_like(value) for name, value in params.items()}, ()


@dataclass(frozen=True)
class Told:
    """The direction is the round, in every number."""

    traits = OptimizerTraits(scheduled=True)

    def init(self, params: Params) -> tuple[()]:
        return ()

    def direction(self, state: tuple[()], gradient: Params, params: Params, round: Tensor) -> tuple[Params, tuple[()]]:
        return {name: round * torch.ones_like(value) for name, value in params.items()}, ()


# Algorithms


def test_every_algorithm_that_descends_has_the_field_last_or_says_why_not() -> None:
    for name in REGISTRY["algorithm"]:
        cls = find("algorithm", name)
        module = inspect.getmodule(cls)
        fields = [field.name for field in dataclasses.fields(cls)]
        if name in PLAIN:
            assert "no field ``optimizer``" in (cls.__doc__ or "") and "optimizer" not in fields
        elif "sgd(" in inspect.getsource(module) or name == "Pooled":  # type: ignore[arg-type]
            assert fields[-1] == "optimizer", name


WITH_OPTIMIZER = [algorithm for algorithm in ALL_ALGORITHMS if hasattr(algorithm, "optimizer")]


@pytest.mark.parametrize("algorithm", WITH_OPTIMIZER, ids=repr)
def test_every_descent_is_given_the_optimizer(algorithm: Any, unlike: Federation) -> None:
    """In a second round: with an optimiser that stands still, what stays and what leaves is what a learning rate of
    1e-30 gives, which is nothing beside a float32 weight. A call that forgot it would move by some hundredths."""

    def plan_of(**changes: Any) -> Plan:
        return tiny_plan(unlike, dataclasses.replace(algorithm, **changes), batch_size=None)

    plan = plan_of()
    state = play(plan, unlike, start(plan, unlike))
    still, slow = (jobs(plan_of(**each), unlike, state, 2) for each in ({"optimizer": Still()}, {"lr": 1e-30}))
    usual = jobs(plan, unlike, state, 2)
    for one, other, moved in zip(alone(still), alone(slow), alone(usual), strict=True):
        for a, b in zip(tree_leaves(one), tree_leaves(other), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
        assert sha256(one) != sha256(moved)


def test_only_functions_that_read_a_context_are_given_one(unlike: Federation) -> None:
    asking: list[Algorithm[Any, Any]] = [
        FedPer(optimizer=Cosine()),
        FedPer(optimizer=Clip(optimizer=WeightDecay(optimizer=Warmup(optimizer=Momentum())))),
        FedAvgM(FedAvg(optimizer=Cosine())),
        TaskWeighted(FedPer(optimizer=Cosine())),
    ]

    def reading(algorithm: Algorithm[Any, Any]) -> bool:
        return tiny_plan(unlike, algorithm).reads_context(0, unlike.clients[0].tasks)

    assert all(reading(algorithm) for algorithm in asking)
    for algorithm in (FedPer(), FedPer(optimizer=Clip(optimizer=Momentum())), FedAvgM(), TaskWeighted(), Local()):
        assert not reading(algorithm)


# Runs

LEARNING = FedPer(lr=0.05, epochs=2, optimizer=Cosine(rounds=4, optimizer=Momentum()))


def experiment(**changes: Any) -> Experiment:
    values = {"data": mixed(examples=8), "algorithm": LEARNING, "rounds": 4, "cohort": 3}
    return toys.experiment(**{**values, **changes})


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("algorithm", [FedPer, Pooled])
def test_rounds_are_counted_from_0_on_every_way(engine: str, algorithm: Any) -> None:
    """With d = t in every number, 2 epochs of S steps a round: after rounds 0 to 3 each number of the trunk has moved
    by −η · 2S · (0 + 1 + 2 + 3), whoever was in the cohorts. A client's 8 examples are S = 2 batches, all 40 are 10.
    """
    last = experiment(algorithm=algorithm(lr=0.01, epochs=2, optimizer=Told()), engine=engine)
    plan = last.make_plan(last.load().schema)
    steps = 2 * (2 if algorithm is FedPer else 10)
    state = run(last).state
    for name, first in plan.initial.items():
        if name.startswith("trunk."):
            torch.testing.assert_close(state[name], first - 0.01 * steps * 6, rtol=0, atol=1e-5)


def test_both_engines_agree() -> None:
    """To 1e-5 after four rounds; without the cosine the model is more than a hundred times as far away."""
    loop, vmap = run(experiment()), run(experiment(engine="vmap"))
    plain = run(experiment(algorithm=dataclasses.replace(LEARNING, optimizer=Momentum())))
    apart = [float((a - b).abs().max()) for a, b in zip(tree_leaves(loop.state), tree_leaves(vmap.state), strict=True)]
    assert max(apart) < 1e-5
    gap = [float((a - b).abs().max()) for a, b in zip(tree_leaves(loop.state), tree_leaves(plain.state), strict=True)]
    assert max(gap) > 1e-3
    assert loop.summary["digests"]["ledger"] == vmap.summary["digests"]["ledger"]


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_a_killed_run_goes_on_with_its_round(engine: str, tmp_path: Path) -> None:
    """Killed after round 2 and resumed from the folder's preset: the digests of a run that was left alone."""

    def kill(progress: Progress) -> None:
        if progress.round == 2:
            raise KeyboardInterrupt

    whole = run(experiment(engine=engine))
    with pytest.raises(KeyboardInterrupt):
        run(experiment(engine=engine), tmp_path, on_round=kill)
    again = load_experiment(str(tmp_path / "experiment.toml"))
    assert again.algorithm == LEARNING
    assert run(again, tmp_path, resume=True).summary["digests"] == whole.summary["digests"]


def test_ray_has_the_local_loops_bits() -> None:
    local, ray = run(experiment()), run(experiment(runtime="Ray(workers=2)"))
    assert ray.summary["digests"] == local.summary["digests"]
    assert np.isfinite([float(leaf.sum()) for leaf in tree_leaves(ray.state)]).all()
