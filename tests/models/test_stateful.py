"""Models that train and measure differently: running statistics, dropout, frozen parameters, and the share map."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedmtl import LoRA, ShareMap, run
from fedmtl.algorithms import (
    Algorithm,
    FedAvg,
    FedBN,
    Local,
    Mocha,
    TaskWeighted,
)
from fedmtl.algorithms.common.local_training import sgd
from fedmtl.core.buffers import is_buffer
from fedmtl.core.context import context_of, training_step
from fedmtl.data.base import Federation
from fedmtl.data.batches import make_batches
from fedmtl.engines import VMap
from fedmtl.models.split import build, initial_params, loss_fn, outputs_fn
from fedmtl.protocol.packets import DOWN, UP
from fedmtl.protocol.spec import check_payload
from fedmtl.tasks import MultiClass
from fedmtl.weightings import MGDA, GradNorm
from fedmtl.weightings.base import task_gradients
from tests.algorithms.rounds import jobs, play, predictors, start, union
from tests.conftest import ADAPTED, ALL_ALGORITHMS, tiny_plan
from tests.engines.jobs import run as run_jobs
from tests.models.stateful import FROZEN, Drawn, StatefulCNN, StatefulMLP
from tests.models.stateful_runs import DRAW, TASKS, experiment, finished, furthest, normed, plan_of

# ---- batch statistics -----------------------------------------------------------------------------------------------


ALL: Any = None
"""Momentum of a mean of all batches."""
NORMS: dict[str, tuple[bool, Any]] = {
    "BatchNorm1d": (False, None),
    "BatchNorm2d": (True, None),
    "BatchNorm1d, mean of all batches": (False, nn.BatchNorm1d(3, momentum=ALL)),
    "BatchNorm2d, mean of all batches": (True, nn.BatchNorm2d(3, momentum=ALL)),
    "BatchNorm2d without a scale": (True, nn.BatchNorm2d(3, momentum=1.0, affine=False)),
    "InstanceNorm2d": (True, nn.InstanceNorm2d(3, momentum=0.3, affine=True, track_running_stats=True)),
    "InstanceNorm2d of the first statistics": (True, nn.InstanceNorm2d(3, momentum=ALL, track_running_stats=True)),
}


@pytest.mark.parametrize("engine", ["alone", "stacked"])
@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("norm", NORMS)
def test_running_statistics_are_those_of_torch(norm: str, size: int, engine: str) -> None:
    """Two passes by plain torch: SGD in train mode on batches of 4, 4, 3 (5, 5), without padding.

    fedmtl pads the last batch of 4 with a row, which must change nothing. A mean of all batches counts them.
    """
    draw, n = np.random.default_rng(size), 11 if size == 4 else 10
    convolution, layer = NORMS[norm]
    model, shape, network = normed(convolution, layer)
    module = build(model, shape, TASKS, 0, False)
    params = initial_params(module)
    own = {f"0.{name.removeprefix('trunk.')}": value for name, value in params.items() if name.startswith("trunk.")}
    own |= {f"1.{name.removeprefix('head.a.')}": value for name, value in params.items() if name.startswith("head.")}
    network.load_state_dict(own, strict=False)
    x, y = draw.standard_normal((n, *shape)).astype(np.float32), (np.arange(n) % 3).astype(np.float32)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for first in [*range(0, n, size)] * 2:
        optimizer.zero_grad()
        rows = slice(first, first + size)
        nn.functional.cross_entropy(network(torch.tensor(x[rows])), torch.tensor(y[rows]).long()).backward()
        optimizer.step()
    loss, batches = loss_fn(module, TASKS, ("a",)), make_batches(x, {"a": y}, size, None)

    def descend(batches: Any) -> Any:
        return sgd(loss, params, batches, 0.1, 2)

    if engine == "alone":
        found = descend(batches)
    else:
        rows = [{key: torch.stack([value] * 3) for key, value in batch.items()} for batch in batches]
        found = {name: value[1] for name, value in torch.vmap(descend)(rows).items()}
    state = network.state_dict()
    assert found.pop("trunk.1.running_batches", torch.tensor(-(-n // size) * 2.0)) == -(-n // size) * 2
    for name, value in found.items():
        expected = state["0." + name.removeprefix("trunk.") if "trunk" in name else "1." + name.removeprefix("head.a.")]
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    network.eval()
    batch = {"x": torch.tensor(x), "mask": torch.ones(n)}
    outputs = outputs_fn(module, ("a",))(found, batch)["a"]
    torch.testing.assert_close(outputs, network(torch.tensor(x)), rtol=1e-5, atol=1e-6)


def test_a_batch_of_one_number_a_channel_keeps_the_statistics() -> None:
    """It has no variance; torch refuses it. Alone, and stacked with a client that has more examples."""
    model, shape, _ = normed(False)
    module = build(model, shape, TASKS, 0, False)
    params = initial_params(module)
    x, y = 10 * params["trunk.0.weight"][:1].numpy(), np.zeros(1, np.float32)  # so that a unit is active
    loss, batches = loss_fn(module, TASKS, ("a",)), make_batches(x, {"a": y}, None, None)
    found = sgd(loss, params, batches, 0.1, 3)
    assert all(torch.equal(found[name], params[name]) for name in params if is_buffer(name))
    assert not torch.equal(found["trunk.0.weight"], params["trunk.0.weight"])
    assert all(value.isfinite().all() for value in found.values())
    mask = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]])
    both = [{"x": torch.tensor(x).expand(2, 4, 6), "y.a": torch.zeros(2, 4), "mask": mask}]
    stacked = torch.vmap(lambda batches: sgd(loss, params, batches, 0.1, 3))(both)
    for name, value in found.items():
        torch.testing.assert_close(stacked[name][0], value, rtol=1e-5, atol=1e-6)


class TwoNorms:
    """Two layers with BatchNorm."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 8), nn.BatchNorm1d(8))

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


def test_batches_of_two_rows_are_as_precise_as_those_of_torch() -> None:
    """Of two rows whose numbers are d apart, BatchNorm makes ±f, and has the gradients f' and −f':

        f = d / √(d² + 4ε),    f' = 4ε / (d² + 4ε)^(3/2),    |f''| ≤ 0.21 / ε at d² = ε, 2e4 for ε = 1e-5

    so a rounding of d, which is 1e-7, changes f' by up to 2e-3, and a second norm above it multiplies that by its own
    f', up to 1 / (2 √ε) = 158. The error of a step of torch's own modules in float32, from those in float64, has this
    size; that of both engines is at most 5 times the largest of 64 clients, and no engine can agree better with
    another.
    """
    module = build(TwoNorms(), (6,), TASKS, 0, False)
    loss, params = loss_fn(module, TASKS, ("a",)), initial_params(module)
    x = torch.randn(64, 2, 6, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0.0, 1.0])

    def own(x: Tensor) -> dict[str, Tensor]:
        return sgd(loss, params, [{"x": x, "y.a": y, "mask": torch.ones(2)}], 0.1)

    def torchs(x: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        network = nn.Sequential(TwoNorms().trunk((6,)), nn.Linear(8, 3))
        names = {name: name.replace("0.", "trunk.", 1) for name in network.state_dict() if name.startswith("0.")}
        names |= {f"1.{last}": f"head.a.{last}" for last in ("weight", "bias")}
        network.load_state_dict({ours: params[name] for ours, name in names.items() if name in params}, strict=False)
        optimizer = torch.optim.SGD(network.to(dtype).parameters(), 0.1)
        nn.functional.cross_entropy(network(x.to(dtype)), y.long()).backward()
        optimizer.step()
        return {name: network.state_dict()[ours].double() for ours, name in names.items() if name in params}

    exact = [torchs(one, torch.float64) for one in x]
    stacked = torch.vmap(own)(x)

    def error(found: list[dict[str, Tensor]]) -> float:
        pairs = zip(found, exact, strict=True)
        return max(float((one[name] - true[name]).abs().max()) for one, true in pairs for name in true)

    unavoidable = error([torchs(one, torch.float32) for one in x])
    assert unavoidable > 1e-5
    assert error([own(one) for one in x]) <= 5 * unavoidable
    assert error([{name: value[k] for name, value in stacked.items()} for k in range(64)]) <= 5 * unavoidable


def test_a_padded_batch_changes_no_statistic() -> None:
    model, shape, _ = normed(False)
    module = build(model, shape, TASKS, 0, False)
    x, y = DRAW.standard_normal((4, 6)).astype(np.float32), np.zeros(4, np.float32)
    batches = make_batches(x, {"a": y}, None, None)
    padding = {**batches[0], "mask": torch.zeros(4)}
    loss, params = loss_fn(module, TASKS, ("a",)), initial_params(module)
    one, other = (sgd(loss, params, given, 0.1, 2) for given in (batches, [*batches, padding]))
    assert all(torch.equal(one[name], other[name]) for name in params)


class ManyNorms:
    """Forty layers with BatchNorm."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        hidden = [layer for _ in range(40) for layer in (nn.Linear(16, 16), nn.BatchNorm1d(16), nn.SiLU())]
        return nn.Sequential(nn.Linear(6, 16), *hidden)

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


def test_padding_does_not_grow_by_each_layer() -> None:
    """Two rows .01 apart; padding 1 from them is 1e2 deviations away behind the first norm, and would be NaN behind
    thirty, and the real rows' gradients with it."""
    module = build(ManyNorms(), (6,), TASKS, 0, False)
    loss, params = loss_fn(module, TASKS, ("a",)), initial_params(module)
    x = torch.rand(1, 6, generator=torch.Generator().manual_seed(0))
    rows = torch.cat([x, x + 0.01])
    alone = {"x": rows, "y.a": torch.tensor([0.0, 1.0]), "mask": torch.ones(2)}
    padding = torch.cat([rows, 1 - x]), torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    found, padded = (sgd(loss, params, [one], 1e-4) for one in (alone, dict(zip(alone, padding, strict=True))))
    for name, value in found.items():
        torch.testing.assert_close(padded[name], value, rtol=1e-3, atol=1e-4)


# ---- dropout --------------------------------------------------------------------------------------------------------


def dropped(layer: nn.Module, x: Tensor, **context: int) -> Tensor:
    """The layer's outputs in a training step."""

    class Model:
        def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (4, 3)), layer, nn.Flatten())

        def head(self, features: int, outputs: int) -> nn.Module:
            return nn.Identity()

    module = build(Model(), (4, 3), {"a": MultiClass(12)}, 0, False)
    params = {**initial_params(module), "trunk.1.weight": torch.eye(12), "trunk.1.bias": torch.zeros(12)}
    outputs = outputs_fn(module, ("a",))
    batch = {"x": x, "mask": torch.ones(len(x))}
    assert torch.equal(outputs(params, batch)["a"], x.flatten(1))  # measured
    with training_step(context_of(**context)):
        return outputs(params, batch)["a"].reshape(x.shape)


def test_dropout_keeps_numbers_or_whole_channels() -> None:
    """Of ones, p = 1/4: kept numbers are 4/3, and their share is 3/4 ± 4 deviations √(3/16 N)."""
    ones = torch.ones(500, 4, 3)
    for layer, count in ((nn.Dropout(0.25), 6000), (nn.Dropout1d(0.25), 2000)):
        found = dropped(layer, ones)
        assert torch.allclose(found[found > 0], torch.tensor(4 / 3))
        assert abs(float((found > 0).float().mean()) - 0.75) < 4 * (3 / 16 / count) ** 0.5
    assert torch.equal(found.amin(2), found.amax(2))


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    """Of 12,000 numbers from N(0, 1), p = .3: mean 0 ± 4/√N, and variance 1 ± 6 √(2/N)."""
    x = torch.randn(1000, 4, 3, generator=torch.Generator().manual_seed(0))
    found = dropped(nn.AlphaDropout(0.3), x)
    assert (
        abs(float(found.mean() - x.mean())) < 4 / 12_000**0.5 and abs(float(found.var()) - 1) < 6 * (2 / 12_000) ** 0.5
    )


def test_draws_follow_seed_round_and_client() -> None:
    x = torch.ones(5, 4, 3)
    first = dropped(nn.Dropout(0.5), x, seed=1, round=2, client=3)
    assert torch.equal(first, dropped(nn.Dropout(0.5), x, seed=1, round=2, client=3))
    for other in ({"seed": 2}, {"round": 3}, {"client": 4}):
        assert not torch.equal(first, dropped(nn.Dropout(0.5), x, **{"seed": 1, "round": 2, "client": 3, **other}))
    assert torch.equal(first[:2], dropped(nn.Dropout(0.5), x[:2], seed=1, round=2, client=3))


# ---- every algorithm and every engine -------------------------------------------------------------------------------

STATEFUL = [(StatefulMLP(), Drawn((5,))), (StatefulCNN(), Drawn())]


@pytest.mark.parametrize(("model", "data"), STATEFUL, ids=["MLP", "CNN"])
def test_loop_vmap_and_ray_agree(model: Any, data: Any, tmp_path: Path) -> None:
    """Dropout, BatchNorm and a frozen layer, three rounds, to 1e-5; the ledgers are equal."""
    settings = {
        "loop": {},
        "vmap": {"engine": "VMap"},
        "ray": {"engine": "VMap", "runtime": "Ray(workers=2)"},
    }
    found = {
        name: finished(tmp_path / name, experiment(FedAvg(lr=0.05, epochs=2), model, data, **changes))
        for name, changes in settings.items()
    }
    (result, models), others = found.pop("loop"), found.values()
    assert all(other.ledger == result.ledger and furthest(own, models) <= 1e-5 for other, own in others)
    assert any(float((value - 1).abs().max()) > 0.01 for value in models[1].values() if is_buffer("x.running_var"))


@pytest.mark.parametrize("algorithm", [a for a in ALL_ALGORITHMS if not isinstance(a, Mocha)], ids=repr)
def test_variances_stay_variances(algorithm: Algorithm[Any, Any], unlike: Federation) -> None:
    """No penalty, control variate or server's step moves them, so those of a client that trained are finite and
    positive, and they have moved. After two rounds of stacks, whose payloads have the parameters that packets hold."""
    model: Any = StatefulMLP(dropout=0.2)
    if isinstance(algorithm, ADAPTED):  # the statistics of its trunk are frozen, those of its heads are not
        model = LoRA(model, rank=2)
    federation = union(unlike) if algorithm.traits.centralized else unlike
    plan = tiny_plan(federation, algorithm, batch_size=None, model=model)
    state = start(plan, federation)
    padding = plan.task_padding(plan.local_update(plan.all_tasks))  # where the algorithm lets unlike clients be a stack
    for round in (1, 2):
        work = jobs(plan, federation, state, round)
        trained = run_jobs(VMap(), work, padding)
        for job, result in zip(work, trained, strict=True):
            check_payload(result.upload.payload, plan.up_spec(job.client, job.owned), UP)
            if not algorithm.traits.broadcast_lists_clients:
                check_payload(job.down, plan.down_spec(job.client, job.owned), DOWN)
        state = play(plan, federation, state, round, trained=trained)
    models = predictors(plan, federation, state)
    buffers = [value for own in models.values() for name, value in own.items() if "running_var" in name]
    assert buffers and all(value.isfinite().all() and (value >= 0).all() for value in buffers)
    if "Ensemble" not in repr(algorithm):  # zeros stand for heads that a member lacks
        assert all((value > 0).all() for value in buffers)
    assert any((value - 1).abs().max() > 1e-3 for value in buffers)


@pytest.mark.parametrize("weighting", [GradNorm(), MGDA()], ids=repr)
def test_gradients_of_tasks_are_without_buffers(weighting: Any) -> None:
    """Of one row, where BatchNorm reads its statistics, too, a gradient is of the parameters alone, also beside a count
    of batches, which is a scalar; a frozen trunk has none, which is said."""
    model, shape, _ = normed(False, nn.BatchNorm1d(3, momentum=ALL))
    module = build(model, shape, TASKS, 0, False)
    params = initial_params(module)
    batch = make_batches(np.ones((1, 6), np.float32), {"a": np.zeros(1, np.float32)}, None, None)[0]
    with training_step(context_of()):
        found = task_gradients(loss_fn(module, TASKS, ("a",)).each, params, batch)
    assert found.shape == (1, 6 * 3 + 3 + 3 + 3) and "trunk.1.running_batches" in params
    frozen = ShareMap(StatefulMLP(), {"trunk.*": "frozen"})
    with pytest.raises(ValueError, match=r"the model's trunk has no parameter; take Equal\(\)"):
        plan_of(TaskWeighted(weighting=weighting), frozen).up_spec(1, ("kind",))


def _uploads(plan: Any, owned: Any, counts: tuple[int, ...]) -> list[Any]:
    """One round of clients with ``counts`` examples, of the first server state."""
    server, results = plan.first_server(dict.fromkeys(range(len(counts)), owned)), []
    loss = plan.loss(owned)
    for k, n in enumerate(counts):
        draw = np.random.default_rng(k)
        x = draw.standard_normal((n, *plan.input_like[0])).astype(np.float32)
        y = {task: np.zeros((n, *plan.tasks[task].label_shape), np.float32) for task in owned}
        down = plan.broadcast(server, k, owned)
        private = plan.init_client(owned, n)
        batches = make_batches(x, y, 4, None)
        results.append(plan.algorithm.local_update(loss, down, private, batches, context_of(client=k)))
    return [server, results]


def test_fedavg_averages_statistics_and_fedbn_keeps_them() -> None:
    """Σ n_k s_k / Σ n_k by numpy, n = 6, 10; FedBN's upload holds none, and its private state all of them."""
    names = {"trunk.4.running_mean", "trunk.4.running_var", "head.kind.0.running_mean", "head.kind.0.running_var"}
    server, results = _uploads(plan := plan_of(FedAvg()), ("kind",), (6, 10))
    after = plan.algorithm.aggregate(server, [(k, r.upload) for k, r in enumerate(results)], context_of())
    for name in names:
        one, other = (result.upload.payload["model"][name].double().numpy() for result in results)
        np.testing.assert_allclose(after[name].numpy(), (6 * one + 10 * other) / 16, rtol=1e-6)
        assert not np.allclose(one, other)
    _, results = _uploads(plan_of(FedBN()), ("kind",), (6, 10))
    for result in results:
        assert {name for name in result.private if is_buffer(name)} == names
        assert not any(is_buffer(name) for record in result.upload.payload.values() for name in record)


def test_a_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    chosen = experiment(FedBN(epochs=2), engine="VMap", rounds=2)
    whole = run(chosen, tmp_path / "whole")
    run(chosen, tmp_path / "parts", pause=lambda progress: progress.round >= 1)
    assert run(chosen, tmp_path / "parts", resume=True).summary["digests"] == whole.summary["digests"]


# ---- frozen parameters ----------------------------------------------------------------------------------------------


MODELS = (StatefulMLP(), StatefulMLP(frozen=False))


def test_frozen_parameters_are_not_stacked() -> None:
    """In a step of 1,000 stacked clients, each tensor of the frozen layer's size that is made or read is one client's:
    the operators see no [1000, 8, inputs] at all, that of the layer that is trained is there."""
    plan = plan_of(FedAvg())
    inputs, owned = plan.input_like[0][0], ("kind",)
    loss, shapes = plan.loss(owned), set[tuple[int, ...]]()

    class Shapes(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            shapes.update(tuple(value.shape) for value in tree_leaves([*args, found]) if isinstance(value, Tensor))
            return found

    batch = {"x": torch.randn(1000, 4, inputs), "y.kind": torch.zeros(1000, 4), "mask": torch.ones(1000, 4)}
    names = [name for name in plan.initial if name.startswith(("trunk.", "head.kind."))]
    params = {name: plan.initial[name].expand(1000, *plan.initial[name].shape).clone() for name in names}
    with Shapes():
        torch.vmap(lambda own, batch: sgd(loss, own, [batch], 0.1, ctx=context_of()))(params, batch)
    assert (1000, 6, FROZEN) in shapes and not {(1000, FROZEN, inputs), (1000, inputs, FROZEN)} & shapes


def test_frozen_parameters_cost_no_byte_and_no_copy(tmp_path: Path) -> None:
    """A model with a frozen layer sends what the same model sends whose layer is the data's: 4 bytes a number fewer.

    All clients, in training and while measuring, use one tensor, and no state or payload has it.
    """
    plan = plan_of(FedAvg())
    frozen = plan.module.trunk[1].weight
    assert not any("trunk.1." in name for name in plan.initial) and not isinstance(frozen, nn.Parameter)
    count = sum(value.numel() for value in (plan.module.trunk[1].weight, plan.module.trunk[1].bias))
    share = ShareMap(StatefulMLP(), {"trunk.*": "shared", "trunk.1.*": "frozen"})
    assert plan_of(FedAvg(), share).initial.keys() == plan.initial.keys()
    free = plan_of(FedAvg(), replace(StatefulMLP(), frozen=False))
    owned = ("kind",)
    assert free.up_spec(1, owned).size - plan.up_spec(1, owned).size == count == FROZEN * (plan.input_like[0][0] + 1)
    assert free.down_spec(1, owned).size - plan.down_spec(1, owned).size == count
    numbers = [
        sum(value.numel() for value in plan_of(Local(), model).init_client(owned, 5).values()) for model in MODELS
    ]
    assert numbers[1] - numbers[0] == count
    loss = plan.loss(owned)
    for module in (loss._outputs._train, loss._outputs._measure):  # the functions that engines run
        assert module.trunk[1].weight.data_ptr() == frozen.data_ptr()
