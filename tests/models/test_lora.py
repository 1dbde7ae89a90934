"""LoRA: a frozen trunk whose weights learn by factors of low rank."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedmtl import (
    CNN,
    GRU,
    MLP,
    Experiment,
    FromModule,
    Linear,
    LoRA,
    ShareMap,
    Stems,
    TransformerEncoder,
    from_arrays,
    run,
)
from fedmtl.algorithms import FedAvg, FedPer, FedSALoRA, FFALoRA, FlexLoRA, FLoRA
from fedmtl.core.context import context_of, training_step
from fedmtl.core.types import Params
from fedmtl.models.split import build, initial_params
from fedmtl.models.split_model import Outputs
from fedmtl.tasks import MultiClass
from tests.models.stateful_runs import experiment, finished, furthest

TASKS: Any = {"a": MultiClass(3), "b": MultiClass(2)}
DRAW = np.random.default_rng(0)
ENCODER = TransformerEncoder(9, width=4, heads=2, layers=1, hidden=6)


class Net(nn.Module):
    """Layers by every kind of name: a recurrence, a BatchNorm, a tied pair, and weights beside a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.2))
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.fc = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.second(torch.tanh(self.first(self.body(x)))))


def moved(params: Params) -> dict[str, torch.Tensor]:
    """Parameters away from the first ones, so that no B is 0."""
    generator = torch.Generator().manual_seed(1)
    return {name: value + 0.3 * torch.randn(value.shape, generator=generator) for name, value in params.items()}


def arrays() -> Any:
    """Three clients with tokens [5] below 9 and two tasks."""
    return from_arrays(
        {k: (DRAW.integers(0, 9, (9, 5)), {"a": np.arange(9) % 3, "b": np.arange(9) % 2}) for k in range(3)},
        test_fraction=1 / 3,
    )


CASES: dict[str, tuple[Any, tuple[int, ...], bool, dict[str, tuple[int, int]]]] = {
    "all matrices of layers, and no table": (
        LoRA(ENCODER, rank=2),
        (5,),
        True,
        {"layers.0.qkv": (12, 4), "layers.0.out": (4, 4), "layers.0.up": (6, 4), "layers.0.down": (4, 6)},
    ),
    "ends of names of layers": (
        LoRA(ENCODER, 2, ("qkv", "*.up")),
        (5,),
        True,
        {"layers.0.qkv": (12, 4), "layers.0.up": (6, 4)},
    ),
    "a table that is named": (LoRA(ENCODER, 1, ("trunk.embed.weight",)), (5,), True, {"embed": (9, 4)}),
    "a convolution is out × in · kernel": (
        LoRA(CNN((3,), 4), rank=3),
        (1, 6, 6),
        False,
        {"0": (3, 9), "4": (4, 27)},
    ),
    "a layer that stands for several tasks": (
        LoRA(FromModule(Net(), heads="fc"), rank=2),
        (6,),
        False,
        {"body.0": (5, 6), "first": (5, 5)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_factors_are_all_of_the_trunk_that_learns(case: str) -> None:
    """A [r, in] and B [out, r] of each matrix, worked out by hand; biases, norms, statistics and tables are constants
    of the module, and heads are as they were."""
    model, shape, tokens, sizes = CASES[case]
    module = build(model, shape, TASKS, 0, tokens)
    params = initial_params(module)
    expected = {}
    for layer, (out, inputs) in sizes.items():
        expected[f"trunk.{layer}.weight_lora_A"] = (model.rank, inputs)
        expected[f"trunk.{layer}.weight_lora_B"] = (out, model.rank)
    assert {name: tuple(value.shape) for name, value in params.items() if name.startswith("trunk.")} == expected
    plain = initial_params(build(model.model, shape, TASKS, 0, tokens))
    heads = {name: value for name, value in params.items() if name.startswith("head.")}
    assert all(torch.equal(value, plain[name]) for name, value in heads.items()) and len(heads) == 4
    for name, value in params.items():
        if name.endswith("_lora_A"):
            assert 0.5 < value.abs().max() * value.shape[1] ** 0.5 <= 1
        elif name.endswith("_lora_B"):
            assert not value.any()


@pytest.mark.parametrize("case", CASES)
def test_a_weight_is_updated_by_the_product(case: str) -> None:
    """Outputs are those of the model without adapters, whose weights are W + (α / r) B A by numpy; with B = 0, W."""
    model, shape, tokens, sizes = CASES[case]
    module, plain = build(model, shape, TASKS, 0, tokens), build(model.model, shape, TASKS, 0, tokens)
    x = torch.randint(0, 9, (4, *shape)) if tokens else torch.randn(4, *shape)
    first, base = initial_params(module), initial_params(plain)
    outputs, wanted = Outputs(module, ("a", "b")), Outputs(plain, ("a", "b"))
    for task, value in wanted(base, x, None).items():
        assert torch.equal(outputs(first, x, None)[task], value)
    params = moved(first)
    updated = {**base, **{name: value for name, value in params.items() if name.startswith("head.")}}
    for layer in sizes:
        weight = f"trunk.{layer}.weight"
        a, b = (params[weight + end].double().numpy() for end in ("_lora_A", "_lora_B"))
        product = 8 / model.rank * np.reshape(b @ a, base[weight].shape)
        updated[weight] = (base[weight].double() + torch.from_numpy(product)).float()
    for task, value in wanted(updated, x, None).items():
        torch.testing.assert_close(outputs(params, x, None)[task], value, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(value, wanted(base, x, None)[task], atol=1e-3)


def test_statistics_of_a_frozen_trunk_stay() -> None:
    """BatchNorm normalises by its first statistics in training, too, and dropout still draws."""
    torch.manual_seed(0)  # of weights and inputs: by others, all units may be closed, and none is left to drop
    module = build(LoRA(FromModule(Net(), heads="fc"), rank=2), (6,), TASKS, 0, False)
    params, x = initial_params(module), 3 + torch.randn(4, 6)
    assert not any("running" in name for name in params)
    outputs = Outputs(module, ("a", "b"))
    with training_step(context_of()):
        one, same = outputs(params, x, None)["a"], outputs(params, x, None)["a"]
    assert torch.equal(one, same) and not torch.equal(one, outputs(params, x, None)["a"])


def test_adapters_do_not_depend_on_each_other() -> None:
    """One target's A has the same draw beside others, and another seed another."""
    one, both, other = (
        initial_params(build(LoRA(MLP((5, 4)), 2, targets), (6,), TASKS, seed, False))["trunk.1.weight_lora_A"]
        for targets, seed in ((("trunk.1.*",), 0), ((), 0), ((), 1))
    )
    assert torch.equal(one, both) and not torch.equal(one, other)


ROUND: dict[str, tuple[Any, int, int]] = {
    "FedPer": (FedPer(epochs=1), 1, 1),
    "FFALoRA": (FFALoRA(epochs=1), 0, 0),
    "FedSALoRA": (FedSALoRA(epochs=1), 2, 2),
    "FlexLoRA": (FlexLoRA(epochs=1), 1, 1),
    "FLoRA": (FLoRA(epochs=1), 3, 1),
}
R, WEIGHTS = 2, ((12, 4), (4, 4), (6, 4), (4, 6))
NUMBERS = [
    sum(R * out for out, _ in WEIGHTS),
    sum(R * (out + inputs) for out, inputs in WEIGHTS),
    sum(R * inputs for _, inputs in WEIGHTS),
    sum(out * inputs for out, inputs in WEIGHTS),
]
"""Of B, of A and B, of A, and of whole weights."""


@pytest.mark.parametrize("name", ROUND)
def test_bytes_of_a_round_are_those_of_the_factors(name: str) -> None:
    """Two rounds on an encoder of one layer; a packet has a header of 32 bytes and 4 a number, by the shapes. Engines
    agree: stacked clients have the loop's scores and losses."""
    algorithm, down, up = ROUND[name]
    data, model = arrays(), LoRA(ENCODER, rank=R)
    found = []
    for engine in ("VMap", "Loop"):
        chosen = Experiment(data=data, model=model, algorithm=algorithm, rounds=2, batch_size=4, engine=engine,
                            runtime="InProcess", train_loss=True)  # fmt: skip
        found.append(run(chosen))
    sizes = {(row["direction"], row["packet_bytes"]) for row in found[0].ledger if row["purpose"] == "train"}
    assert {size for where, size in sizes if where == "down"} == {32 + 4 * NUMBERS[down]}
    assert {size for where, size in sizes if where == "up"} <= {32 + 4 * NUMBERS[up], 36 + 4 * NUMBERS[up]}
    assert found[0].ledger == found[1].ledger
    for one, other in zip(found[0].rows, found[1].rows, strict=True):
        assert one["value"] == pytest.approx(other["value"], abs=1e-4)
        if one.get("loss") is not None:
            assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)


MAPS = {
    "*_lora_A": ("frozen", FFALoRA(epochs=2)),
    "*_lora_B": ("private", FedSALoRA(epochs=2)),
}


@pytest.mark.parametrize("glob", MAPS)
def test_a_share_map_of_factors_is_the_algorithm(glob: str, tmp_path: Path) -> None:
    """FedPer with A frozen is FFA-LoRA, with B private FedSA-LoRA: the same numbers a packet, and the same models."""
    word, algorithm = MAPS[glob]
    model = LoRA(MLP((5,)), rank=2)
    mapped, models = finished(tmp_path / "map", experiment(FedPer(epochs=2), ShareMap(model, {glob: word})))
    own, expected = finished(tmp_path / "own", experiment(algorithm, model))
    names = {name for params in models.values() for name in params}
    kept = {k: {name: value for name, value in params.items() if name in names} for k, params in expected.items()}
    assert furthest(models, kept) == 0
    assert [row["packet_bytes"] for row in mapped.ledger] == [row["packet_bytes"] for row in own.ledger]


@pytest.mark.parametrize("algorithm", [FedAvg(epochs=1), FLoRA(epochs=1)], ids=["factors", "merged"])
def test_a_trained_model_has_its_updates_in_its_weights(algorithm: Any) -> None:
    """``result.model``: no factor is left, weights are not the frozen ones, and outputs are those of the factors."""
    data = from_arrays(
        {k: (DRAW.standard_normal((9, 6)), {"a": np.arange(9) % 3}) for k in range(3)}, test_fraction=1 / 3
    )
    model = LoRA(FromModule(Net(), heads="fc"), rank=2)
    result = run(Experiment(data=data, model=model, algorithm=algorithm, rounds=2, runtime="InProcess"))
    own = result.model(1).state_dict()
    assert not any("lora" in name for name in own)
    assert not torch.equal(own["trunk.first.weight"], model.model.make().first.weight)
    heads = {name: value for name, value in own.items() if name.startswith("head.")}
    x = torch.from_numpy(data.load(0).clients[1].test.x)
    wanted = Outputs(build(model, (6,), data.load(0).tasks, 0, False), ("a",))({**result.state, **heads}, x, None)["a"]
    torch.testing.assert_close(result.model(1)(x)["a"], wanted, rtol=1e-4, atol=1e-5)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "no match": (
        lambda: LoRA(MLP((5,)), 2, ("trunk.7.*",)),
        r"'trunk.7.\*' matches no weight of the trunk; .* trunk.1.weight",
    ),
    "nearly a match": (lambda: LoRA(MLP((5,)), 2, ("trunk.1.wieght",)), "Did you mean trunk.1.weight"),
    "a head": (lambda: LoRA(MLP((5,)), 2, ("head.a.weight",)), "matches no weight of the trunk"),
    "no matrix": (
        lambda: LoRA(MLP((5,)), 2, ("trunk.1.bias",)),
        r"'trunk.1.bias' matches trunk.1.bias, of shape \(5,\), which is no matrix",
    ),
    "a rank above the sizes": (
        lambda: LoRA(MLP((5,)), rank=6),
        "rank=6 is above the sizes of trunk.1.weight, 5 × 6; take a rank of at most 5",
    ),
    "nothing to adapt": (lambda: LoRA(Linear(), 2), "no layer whose weight is a matrix"),
    "no rank": (lambda: LoRA(MLP(), rank=0), "rank is a whole number, at least 1, got rank=0"),
    "half a rank": (lambda: LoRA(MLP(), rank=1.5), "rank is a whole number"),  # type: ignore[arg-type]
    "no alpha": (lambda: LoRA(MLP(), alpha=0.0), "alpha is a positive, finite number, got alpha=0.0"),
    "no globs": (lambda: LoRA(MLP(), targets=(1,)), "targets are globs over names"),  # type: ignore[arg-type]
    "a map inside": (lambda: LoRA(ShareMap(MLP(), {"*": "shared"})), r"a share map goes around it"),
    "twice": (lambda: LoRA(LoRA(MLP())), "LoRA wraps a model such as"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_adapted(case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message) as error:
        build(make(), (6,), TASKS, 0, False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("algorithm", [FFALoRA(), FedSALoRA(), FlexLoRA(), FLoRA()], ids=lambda a: type(a).__name__)
def test_a_model_without_adapters_is_refused(algorithm: Any) -> None:
    data = from_arrays({k: (DRAW.standard_normal((9, 6)), {"a": np.arange(9) % 3}) for k in range(2)})
    with pytest.raises(ValueError, match=r"aggregates adapters, but the model has none; wrap it, as in model=LoRA"):
        run(Experiment(data=data, model=MLP((3,)), algorithm=algorithm, rounds=1, runtime="InProcess"))


def test_a_recurrence_has_adapters_by_its_own_names() -> None:
    params = initial_params(build(LoRA(GRU(hidden=4), rank=2), (3, 6), TASKS, 0, False))
    assert [name for name in params if name.endswith("_A")] == [
        f"trunk.{layer}.{weight}_lora_A" for layer, weight in _recurrent(params)
    ]


def _recurrent(params: Params) -> list[tuple[str, str]]:
    (layer,) = {name.split(".")[1] for name in params if name.startswith("trunk.")}
    return [(layer, "weight_ih_l0"), (layer, "weight_hh_l0")]


@pytest.mark.parametrize(
    "algorithm", [FedPer(), FFALoRA(), FedSALoRA(), FlexLoRA(), FLoRA()], ids=lambda a: type(a).__name__
)
def test_stems_have_adapters_of_their_own(algorithm: Any) -> None:
    """Clients have those of their tasks' stems and the body's; a stem is aggregated over the clients that have it."""
    draw = np.random.default_rng(1)
    parts = {
        "a": (draw.standard_normal((6, 4)), np.arange(6) % 3),
        "b": (draw.standard_normal((6, 7)), np.arange(6) % 2),
    }
    data = from_arrays({0: parts, 1: {"a": parts["a"]}, 2: {"b": parts["b"]}}, test_fraction=1 / 3)
    model = LoRA(Stems({"a": MLP((5,)), "b": MLP((5,))}, body=MLP((3,))), rank=2)
    result = run(Experiment(data=data, model=model, algorithm=algorithm, rounds=1, runtime="InProcess"))
    down = {row["client"]: row["packet_bytes"] for row in result.ledger if row["direction"] == "down"}
    of_a, of_b, body = (({"FFALoRA": (0, 2), "FedSALoRA": (2, 0)}.get(type(algorithm).__name__, (2, 2)), size)
                        for size in ((4, 5), (7, 5), (5, 3)))  # fmt: skip

    def numbers(part: Any) -> int:
        (a, b), (inputs, out) = part
        return inputs * out if isinstance(algorithm, FLoRA) else a * inputs + b * out

    a, b, shared = numbers(of_a), numbers(of_b), numbers(body)
    assert down == {0: 32 + 4 * (a + b + shared), 1: 32 + 4 * (a + shared), 2: 32 + 4 * (b + shared)}
