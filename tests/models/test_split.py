"""A trunk and heads as one module: first parameters that stay where they are, and the loss of several tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from fedmtl.core.trees import sha256
from fedmtl.core.types import Batch, Params
from fedmtl.models import MLP
from fedmtl.models.split import build, initial_params, loss_fn, mixed_sums_fn, sums_fn
from fedmtl.tasks import Binary, MultiClass, Regression, Task
from fedmtl.tasks.traits import TaskTraits

A, B, C = MultiClass(3), Regression(), MultiClass(3)
MODEL = MLP((4,))


@dataclass(frozen=True)
class Parts:
    """A model made of two functions."""

    make_trunk: Callable[[tuple[int, ...]], nn.Module]
    make_head: Callable[[int, int], nn.Module] = nn.Linear

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return self.make_trunk(input_shape)

    def head(self, features: int, outputs: int) -> nn.Module:
        return self.make_head(features, outputs)


def first(tasks: dict[str, Task], seed: int = 0, model: MLP = MODEL) -> dict[str, Tensor]:
    return initial_params(build(model, (5,), tasks, seed, False))


def some(params: Params, start: str) -> str:
    """A hash of the parameters whose name starts so."""
    found = {name: value for name, value in params.items() if name.startswith(start)}
    assert found
    return sha256(found)


# ---- first parameters -----------------------------------------------------------------------------------------------


def test_names() -> None:
    """Every parameter is of the trunk or of one task's head, and heads are as large as their tasks ask."""
    shapes = {name: tuple(value.shape) for name, value in first({"a": A, "b": B}).items()}
    assert shapes == {
        "trunk.1.weight": (4, 5),
        "trunk.1.bias": (4,),
        "head.a.weight": (3, 4),
        "head.a.bias": (3,),
        "head.b.weight": (1, 4),
        "head.b.bias": (1,),
    }


def test_a_heads_start_does_not_depend_on_other_tasks() -> None:
    """Nor the trunk's: alone, among others that come before and after it, in any order."""
    alone = first({"m": A})
    for others in ({"z": B, "m": A}, {"m": A, "a": B}, {"a": B, "m": A, "m2": C, "l": Binary()}):
        among = first(dict(others))
        assert some(among, "head.m.") == some(alone, "head.m.")
        assert some(among, "trunk.") == some(alone, "trunk.")


def test_starts_differ_by_task_and_by_seed() -> None:
    params, other = first({"a": A, "c": C}), first({"a": A, "c": C}, seed=1)
    assert not torch.equal(params["head.a.weight"], params["head.c.weight"])
    for start in ("head.a.", "head.c.", "trunk."):
        assert some(params, start) != some(other, start) and some(params, start) == some(first({"a": A, "c": C}), start)


def test_chance_outside_has_no_part_and_is_not_used_up() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = first({"a": A})
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert sha256(first({"a": A})) == sha256(one)


def test_initial_params_are_copies() -> None:
    module = build(MODEL, (5,), {"a": A}, 0, False)
    params = initial_params(module)
    before = sha256(params)
    with torch.no_grad():
        for value in module.parameters():
            value.zero_()
    assert sha256(params) == before and not any(value.requires_grad for value in params.values())


@pytest.mark.parametrize("name", ["type", "items", "train", "_", "größe", "a__b"])
def test_any_identifier_names_a_task(name: str) -> None:
    """Or else the error says that this one does not, and why: torch's modules have attributes called type and items."""
    try:
        params = first({name: A})
    except ValueError as error:
        assert f"task {name!r}" in str(error)
    else:
        assert [n for n in params if n.startswith("head.")] == [f"head.{name}.weight", f"head.{name}.bias"]


# ---- what is refused ------------------------------------------------------------------------------------------------


def mlp_with(*layers: nn.Module) -> Callable[[tuple[int, ...]], nn.Module]:
    return lambda shape: nn.Sequential(nn.Linear(shape[0], 4), *layers)


class Doubled(nn.Module):
    """Gives twice as many rows as it gets."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x])


REFUSED = [
    pytest.param(
        Parts(mlp_with(nn.Unflatten(1, (2, 2)))),
        r"head\(\(2, 2\), 3\), of task 'a', fails .*end the trunk in nn.Flatten\(\), or make a head for this shape",
        id="features that are not flat, and a head for others",
    ),
    pytest.param(
        Parts(mlp_with(Doubled())),
        r"features \[B, …\], of which B is the batch, got shape \(4, 4\) for B=2",
        id="rows that are not its own",
    ),
    pytest.param(
        Parts(MODEL.trunk, lambda features, outputs: nn.Linear(features, outputs + 1)),
        r"the head of task 'a' gives shape \(2, 4\) for B=2, but MultiClass\(num_classes=3\) needs \(2, 3\)",
        id="a head of another size",
    ),
    pytest.param(
        Parts(MODEL.trunk, lambda features, outputs: nn.Sequential(nn.Linear(features, outputs), nn.Flatten(0))),
        r"the head of task 'a' gives shape \(6,\) for B=2",
        id="a head that is too flat",
    ),
    pytest.param(
        Parts(MODEL.trunk, lambda features, outputs: Halves(features, outputs)),
        r"parameters are float32, but head\.a\.scale is torch\.float16",
        id="half precision",
    ),
]


class Halves(nn.Module):
    """A linear head with a scale in half precision."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, outputs)
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float16))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.scale


@pytest.mark.parametrize(("model", "message"), REFUSED)
def test_what_cannot_be_shared_is_refused(model: Parts, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build(model, (5,), {"a": A}, 0, False)
    assert repr(model) in str(error.value)


@pytest.mark.parametrize("layer", [nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.RMSNorm(4)], ids=repr)
def test_norms_without_statistics_pass(layer: nn.Module) -> None:
    params = initial_params(build(Parts(mlp_with(layer)), (5,), {"a": A}, 0, False))
    assert params["trunk.1.weight"].shape == (4,)


def test_whole_numbers_as_inputs() -> None:
    """Tokens reach an embedding as int64."""

    def trunk(shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Embedding(10, 3), nn.Flatten(), nn.Linear(3 * shape[0], 4))

    module = build(Parts(trunk), (6,), {"a": A}, 0, True)
    assert module(torch.zeros(2, 6, dtype=torch.int64))["a"].shape == (2, 3)


# ---- the loss of several tasks --------------------------------------------------------------------------------------


@pytest.fixture
def batch() -> Batch:
    """Five rows, the last of which is padding; the second has no label of b and the third none of either."""
    generator = torch.Generator().manual_seed(0)
    nan = torch.nan
    return {
        "x": torch.randn(5, 5, generator=generator),
        "y.a": torch.tensor([0.0, 2.0, nan, 1.0, 1.0]),
        "y.b": torch.tensor([1.5, nan, nan, -0.5, 9.0]),
        "mask": torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]),
        "index": torch.arange(5),
    }


TASKS: dict[str, Task] = {"a": A, "b": B}


def own(params: Params, owned: tuple[str, ...]) -> Params:
    """The trunk and the heads of these tasks."""
    return {n: v for n, v in params.items() if n.startswith(("trunk.", *(f"head.{task}." for task in owned)))}


def forward(params: Params, batch: Batch, task: str) -> np.ndarray:
    """The network in numpy, float64."""
    w = {name: value.double().numpy() for name, value in params.items()}
    hidden = np.maximum(batch["x"].double().numpy() @ w["trunk.1.weight"].T + w["trunk.1.bias"], 0)
    return hidden @ w[f"head.{task}.weight"].T + w[f"head.{task}.bias"]


def numpy_losses(params: Params, batch: Batch) -> dict[str, float]:
    """Cross-entropy of a over rows 0, 1, 3 and squared error of b over rows 0, 3."""
    z, y = forward(params, batch, "a")[[0, 1, 3]], [0, 2, 1]
    entropy = np.log(np.exp(z).sum(1)) - z[np.arange(3), y]
    error = forward(params, batch, "b")[[0, 3], 0] - np.array([1.5, -0.5])
    return {"a": float(entropy.mean()), "b": float((error**2).mean())}


def test_the_loss_is_the_mean_over_tasks(batch: Batch) -> None:
    """Of each task's mean over its own labelled examples; not the mean over all labels together."""
    module = build(MODEL, (5,), TASKS, 0, False)
    params = initial_params(module)
    by_task = numpy_losses(params, batch)
    both = loss_fn(module, TASKS, ("a", "b"))(params, batch)
    assert both.shape == () and float(both) == pytest.approx((by_task["a"] + by_task["b"]) / 2, rel=1e-5)
    assert float(both) != pytest.approx((3 * by_task["a"] + 2 * by_task["b"]) / 5, rel=1e-2)
    for task in ("a", "b"):
        alone = loss_fn(module, TASKS, (task,))(own(params, (task,)), batch)
        assert float(alone) == pytest.approx(by_task[task], rel=1e-5)


def test_a_client_needs_only_its_own(batch: Batch) -> None:
    """Neither the head nor the labels of another task."""
    module = build(MODEL, (5,), TASKS, 0, False)
    params = own(initial_params(module), ("a",))
    labels = {key: value for key, value in batch.items() if key != "y.b"}
    slopes = torch.func.grad(loss_fn(module, TASKS, ("a",)))(params, labels)
    assert slopes.keys() == params.keys() and all(slope.any() for slope in slopes.values())


def test_it_is_a_function_of_its_parameters_alone(batch: Batch) -> None:
    """The module's own values are never read, and never written."""
    module = build(MODEL, (5,), TASKS, 0, False)
    params = initial_params(module)
    loss = loss_fn(module, TASKS, ("a", "b"))
    before = loss(params, batch)
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(torch.nan)
    assert torch.equal(loss(params, batch), before)
    assert all(value.isnan().all() and value.grad is None for value in module.parameters())


@pytest.mark.parametrize("owned", [("a",), ("b",), ("a", "b")])
def test_a_batch_may_say_whose_tasks_it_has(batch: Batch, owned: tuple[str, ...]) -> None:
    """With ``owns``, the loss of all tasks is the loss of the client's own, in value and gradient."""
    module = build(MODEL, (5,), TASKS, 0, False)
    params = initial_params(module)
    owns = torch.tensor([float(task in owned) for task in ("a", "b")]) * batch["mask"][:, None]  # engines pad with 0
    foreign = {f"y.{task}": torch.full((5,), torch.nan) for task in TASKS if task not in owned}
    wide, narrow = loss_fn(module, TASKS, ("a", "b")), loss_fn(module, TASKS, owned)
    wide_batch = {**batch, **foreign, "owns": owns}
    assert float(wide(params, wide_batch)) == pytest.approx(float(narrow(own(params, owned), batch)), rel=1e-6)
    slopes = torch.func.grad(wide)(params, wide_batch)
    expected = torch.func.grad(narrow)(own(params, owned), batch)
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, expected.get(name, torch.zeros_like(slope)), rtol=1e-5, atol=1e-7)


def test_sums_are_the_tasks_own(batch: Batch) -> None:
    """a: 3 labelled rows, and how many the network in numpy gets right; b: 2, and their squared errors."""
    module = build(MODEL, (5,), TASKS, 0, False)
    params = initial_params(module)
    sums = sums_fn(module, TASKS, ("a", "b"))(params, batch)
    right = (forward(params, batch, "a")[[0, 1, 3]].argmax(1) == [0, 2, 1]).sum()
    assert sums["a"].tolist() == [3, right]
    assert sums["b"].tolist() == pytest.approx([2, 2 * numpy_losses(params, batch)["b"]], rel=1e-5)
    alone = sums_fn(module, TASKS, ("b",))(own(params, ("b",)), batch)
    assert alone.keys() == {"b"} and not alone["b"].requires_grad and torch.equal(alone["b"], sums["b"])


# ---- mixtures of models ---------------------------------------------------------------------------------------------


def test_sums_of_a_mixture(batch: Batch) -> None:
    """Three models with weights of each task's own. a: how often the largest mean of softmax is the label, rows 0, 1
    and 3; b: squared errors of the weighted mean of the numbers, rows 0 and 3. By the network in numpy."""
    module = build(MODEL, (5,), TASKS, 0, False)
    models = [first(TASKS, seed) for seed in (1, 2, 3)]
    weights = {"a": torch.tensor([0.2, 0.3, 0.5]), "b": torch.tensor([0.0, 0.25, 0.75])}
    sums = mixed_sums_fn(module, TASKS, ("a", "b"))(models, weights, batch)
    p = sum(float(v) * softmax(forward(w, batch, "a"), -1) for v, w in zip(weights["a"], models, strict=True))
    number = sum(float(v) * forward(w, batch, "b")[:, 0] for v, w in zip(weights["b"], models, strict=True))
    assert sums["a"].tolist() == [3, (np.asarray(p)[[0, 1, 3]].argmax(1) == [0, 2, 1]).sum()]
    error = np.asarray(number)[[0, 3]] - [1.5, -0.5]
    assert sums["b"].tolist() == pytest.approx([2, (error**2).sum()], rel=1e-5)
    both = mixed_sums_fn(module, TASKS, ("a", "b"))(models, weights["b"], batch)
    assert torch.equal(both["b"], sums["b"]) and not both["b"].requires_grad
    narrow = [own(w, ("b",)) for w in models]
    assert torch.equal(mixed_sums_fn(module, TASKS, ("b",))(narrow, weights, batch)["b"], sums["b"])


def test_a_mixture_of_one_has_its_sums(batch: Batch) -> None:
    module = build(MODEL, (5,), TASKS, 0, False)
    params = initial_params(module)
    expected = sums_fn(module, TASKS, ("a", "b"))(params, batch)
    found = mixed_sums_fn(module, TASKS, ("a", "b"))([params], torch.ones(1), batch)
    assert torch.equal(found["a"], expected["a"])
    torch.testing.assert_close(found["b"], expected["b"], rtol=1e-6, atol=0)


class Plain:
    """A kind of task from before there were mixtures: all of a task but ``mixed``."""

    def __init__(self) -> None:
        for name in ("outputs", "label_shape", "loss", "sums", "metric", "score", "labels"):
            setattr(self, name, getattr(A, name))
        self.traits = TaskTraits()

    def __repr__(self) -> str:
        return "Plain()"


def test_a_task_without_mixtures_is_refused_where_there_is_one(batch: Batch) -> None:
    """And nowhere else."""
    tasks: dict[str, Any] = {"a": Plain(), "b": B}
    module = build(MODEL, (5,), tasks, 0, False)
    params = initial_params(module)
    assert sums_fn(module, tasks, ("a", "b"))(params, batch)["a"][0] == 3
    assert mixed_sums_fn(module, tasks, ("b",))([own(params, ("b",))], torch.ones(1), batch)["b"][0] == 2
    with pytest.raises(
        ValueError, match=r"task 'a': .* mixture of models, but Plain\(\) has no method mixed.*give it one"
    ):
        mixed_sums_fn(module, tasks, ("a", "b"))


def test_recurrent_weights_are_not_joined_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU torch joins them at each call with new weights, by their addresses, which tensors inside a transform do
    not have; here the joining itself fails, as it would there."""

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.LSTM(5, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.cells(torch.stack([x, x], 1))[0][:, -1]

    module = build(Parts(lambda shape: Last()), (5,), {"a": A}, 0, False)

    def joined(self: nn.RNNBase) -> None:
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", joined)
    batch = {"x": torch.ones(2, 5), "y.a": torch.zeros(2), "mask": torch.ones(2)}
    slopes = torch.func.grad(loss_fn(module, {"a": A}, ("a",)))(initial_params(module), batch)
    assert all(slope.abs().sum() > 0 for slope in slopes.values())
