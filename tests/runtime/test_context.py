"""Randomness of an algorithm: of clients and of the server, the same whoever trains, and another for each seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl import Context, Experiment, FedEM, LocalResult, Result, Traits, Upload, run
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.ifca import IFCA
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LossFn, Params, Payload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import Cosine, Optimizer
from tests import toys
from tests.toys import mixed


@dataclass(frozen=True)
class Noisy:
    """FedPer whose broadcasts, uploads and server's model have noise of their own, and whose rates fall."""

    traits = Traits(independent_heads=True, uniform_broadcast=True)

    lr: float = 0.05
    optimizer: Optimizer = Cosine(rounds=4)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return noisy(select(params, "trunk."), ctx)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": noisy(server, ctx)}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, 2, self.optimizer, ctx=ctx)
        return LocalResult(
            select(w, "head."), Upload({"trunk": noisy(select(w, "trunk."), ctx)}, num_examples(batches))
        )

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return noisy(mean_upload(uploads, "trunk"), ctx)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}


def noisy(params: Params, ctx: Context) -> Params:
    return {name: value + 0.01 * ctx.fold(name).normal(value.shape) for name, value in params.items()}


def experiment(**settings: Any) -> Experiment:
    data = mixed(clients=6, examples=9, test_examples=4)
    return toys.experiment(**{"data": data, "algorithm": Noisy(), "rounds": 4, "cohort": 4, **settings})


def numbers(result: Result) -> list[float]:
    return [row["value"] for row in result.rows if row["value"] is not None]


def test_every_engine_and_runtime_draws_the_same() -> None:
    """The loop bit for bit, vmap to rounding; clients of several sets of tasks, which vmap runs together."""
    expected = run(experiment())
    assert run(experiment(runtime="Ray(workers=2)")).summary["digests"] == expected.summary["digests"]
    together = run(experiment(engine="VMap(chunk=4)"))
    np.testing.assert_allclose(numbers(together), numbers(expected), rtol=1e-4, atol=1e-5)
    assert together.ledger == expected.ledger


@pytest.mark.parametrize("algorithm", [Noisy(), FedEM(components=2), IFCA()], ids=repr)
def test_noise_follows_the_seed_of_the_experiment(algorithm: Any) -> None:
    """Of equal parameters, so that only noise can differ; seed 0 is one like any."""

    def first(seed: int) -> list[torch.Tensor]:
        chosen = experiment(algorithm=algorithm, seed=seed)
        plan = chosen.make_plan(chosen.load())
        params = {name: torch.ones_like(value) for name, value in plan.initial.items()}
        state: Any = algorithm.init_server(params, plan.server_context(1, "init_server"))
        models = state.models if isinstance(algorithm, IFCA) else [state]
        return [value for model in models for value in model.values()]

    seeds = [first(seed) for seed in (0, 0, 1, 2)]
    assert all(torch.equal(one, other) for one, other in zip(seeds[0], seeds[1], strict=True))
    for a, b in ((0, 2), (0, 3), (2, 3)):
        assert not any(torch.equal(one, other) for one, other in zip(seeds[a], seeds[b], strict=True) if one.std() > 0)
    assert any(one.std() > 0 for one in seeds[0])


@pytest.mark.parametrize("text", ["FedEM(seed=3)", {"name": "IFCA", "seed": 3}, "FedPer(seed=3)"])
def test_a_seed_of_an_algorithm_is_an_error_with_the_way_out(text: Any) -> None:
    with pytest.raises(ValueError, match="has no seed of its own: .*follows the experiment's.*seed = 3 beside"):
        experiment(algorithm=text)


def test_a_method_without_a_context_is_an_error_that_shows_its_arguments() -> None:
    class Old(Noisy):
        def local_update(self, loss: Any, down: Any, private: Any, batches: Any) -> Any:  # type: ignore[override]
            return None

    with pytest.raises(
        ValueError, match=r"Old: local_update is called with \(loss, down, private, batches, ctx\), and takes \(loss: "
    ):
        experiment(algorithm=Old())
