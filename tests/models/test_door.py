"""Models as people have them: they work with the right numbers, or are refused in one line that says the way out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedmtl.algorithms import FedAvg, FedHCA2, FedPer
from fedmtl.client.client_pool import ClientPool
from fedmtl.core.types import Upload
from fedmtl.data import from_arrays
from fedmtl.models import CNN, MLP, Linear
from fedmtl.models.split import build, initial_params
from fedmtl.registry.components import REGISTRY
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.tasks import Binary, MultiClass
from fedmtl.verify.check import CTX

TASKS = {"a": MultiClass(3), "b": Binary()}
DRAW = np.random.default_rng(0)


class Parts:
    """A model of two functions."""

    def __init__(self, trunk: Callable[[tuple[int, ...]], Any], head: Callable[[int, int], Any] = nn.Linear) -> None:
        self.trunk, self.head = trunk, head

    def __repr__(self) -> str:
        return "Parts()"


class Forward(nn.Module):
    """A linear layer and a function of its output."""

    def __init__(self, function: Callable[..., Any], size: int = 6) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(size, 4), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.linear(x))


def after(*layers: nn.Module) -> Parts:
    return Parts(lambda shape: nn.Sequential(nn.Linear(shape[0], 4), *layers))


def doing(function: Callable[..., Any]) -> Parts:
    return Parts(lambda shape: Forward(function, shape[0]))


class Counts(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True)


class Later(nn.Module):
    """Gives something else each time."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


def with_parameter(value: Tensor) -> Parts:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 4)
            self.scale = nn.Parameter(value, requires_grad=value.is_floating_point())

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) * self.scale

    return Parts(lambda _: Scaled())


def transformer(dropout: float) -> Parts:
    def trunk(shape: tuple[int, ...]) -> nn.Module:
        layer = nn.TransformerEncoderLayer(2, 1, 4, dropout=dropout, batch_first=True)
        return nn.Sequential(nn.Unflatten(1, (3, 2)), layer, nn.Flatten())

    return Parts(trunk)


class Last(nn.Module):
    """The last output of an LSTM."""

    def __init__(self, dropout: float = 0.0, cells: Any = nn.LSTM) -> None:
        super().__init__()
        self.cells = cells(2, 4, 2, batch_first=True, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.cells(x.unflatten(1, (3, 2)))[0][:, -1]


class Second(nn.Module):
    """Dropout of the second of two positions, of which the batch is not the first dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x.unflatten(1, (2, 2)).transpose(0, 1), 0.5)[1].repeat(1, 2)


class RunningMean(nn.Module):
    """Keeps a mean over all rows of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_center", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.running_center = 0.9 * self.running_center + 0.1 * x.mean(0).detach()
        return x


class RunningParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.running_scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.running_scale


class RunningCount(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        return x


class RunningCalls(nn.Module):
    """Counts its training steps in a buffer, in place, and shrinks its output by them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.running_calls += 1
        return x / (1 + self.running_calls)


SHARED_HEAD = nn.Linear(4, 4)
DRAWS = r"draws random numbers \(in forward\), and a run must give the same numbers again; draw in training alone"
REFUSED: dict[str, tuple[Any, str]] = {
    "noise in forward": (doing(lambda x: x + torch.randn_like(x)), DRAWS),
    "noise of pooling": (
        after(nn.Unflatten(1, (1, 2, 2)), nn.FractionalMaxPool2d(1, output_size=1), nn.Flatten()),
        DRAWS,
    ),
    "dropout of a sequence first": (after(Second()), "batch_first=True"),
    "numpy's noise": (doing(lambda x: x + float(DRAW.random())), "gives other numbers when it is called again"),
    "BatchNorm without statistics": (
        after(nn.BatchNorm1d(4, track_running_stats=False)),
        r"trunk.1 \(BatchNorm1d\) takes means over the batch where it measures, too.*track_running_stats=True",
    ),
    "InstanceNorm of one number": (
        after(nn.Unflatten(1, (4, 1)), nn.InstanceNorm1d(4, track_running_stats=True), nn.Flatten()),
        r"the trunk fails .*InstanceNorm got one number for each channel, \(2, 4, 1\)",
    ),
    "BatchNorm over processes": (after(nn.SyncBatchNorm(4)), "several processes; use BatchNorm1d"),
    "a mean over padding": (after(RunningMean()), "changes its buffer 1.running_center by the padding of a batch"),
    "a parameter named as a buffer": (after(RunningParameter()), "running_ are those of buffers, which no gradient"),
    "a buffer of whole numbers": (after(RunningCount()), r"float32 and finite, got torch.int64"),
    "batch norm in forward": (
        doing(lambda x: F.batch_norm(x, None, None, training=True)),
        "fails on a batch of one example .*use BatchNorm, GroupNorm or LayerNorm",
    ),
    "a mean over the batch": (doing(lambda x: x - x.mean(0)), "other numbers when others are in its batch"),
    "squeeze": (doing(lambda x: x.squeeze()), r"shape \(4,\) for a batch of one example and \(2, 4\) for two"),
    "a tuple": (doing(lambda x: (x, x)), "a trunk gives features, a tensor .*, got a tuple; return one"),
    "a dict": (doing(lambda x: {"features": x}), "got a dict"),
    "no tensor": (doing(lambda x: None), "got a NoneType"),
    "float64 features": (doing(lambda x: x.double()), "float32 features, got torch.float64"),
    "complex features": (doing(lambda x: torch.fft.fft(x)), "float32 features, got torch.complex64"),
    "features of another shape": (
        doing(lambda x: x[:, None]),
        r"head\(\(1, 4\), 3\).* end the trunk in nn.Flatten\(\)",
    ),
    "features that are flat": (doing(lambda x: x[:, 0]), r"features \[B, …\].*got shape \(2,\)"),
    "an error of its own": (
        doing(lambda x: x @ torch.zeros(9, 9)),
        r"the trunk fails on inputs of shape \(2, 6\), torch.float32",
    ),
    "another width": (Parts(lambda _: nn.Linear(5, 4)), "the trunk fails on inputs of shape"),
    "an embedding of fractions": (
        Parts(lambda _: nn.Embedding(9, 4)),
        "tokens are whole numbers: give every client's x",
    ),
    "no module": (Parts(lambda _: lambda x: x), "the trunk is an nn.Module, got a function"),
    "no module as head": (
        Parts(MLP((4,)).trunk, lambda f, o: None),
        "the head of task 'a' is an nn.Module, got a NoneType",
    ),
    "double": (
        Parts(lambda s: nn.Linear(6, 4).double()),
        "float32, but trunk.weight is torch.float64; build it without",
    ),
    "half": (Parts(lambda s: nn.Linear(6, 4).half()), "trunk.weight is torch.float16"),
    "bfloat16": (Parts(lambda s: nn.Linear(6, 4).bfloat16()), "trunk.weight is torch.bfloat16"),
    "a double head": (Parts(MLP((4,)).trunk, lambda f, o: nn.Linear(f, o).double()), "head.a.weight is torch.float64"),
    "a complex parameter": (with_parameter(torch.ones((), dtype=torch.complex64)), "scale is torch.complex64"),
    "whole parameters": (with_parameter(torch.ones((), dtype=torch.int64)), "scale is torch.int64"),
    "NaN to begin with": (with_parameter(torch.tensor(torch.nan)), "trunk.scale begins with NaN or infinity"),
    "parameters without numbers": (
        Parts(lambda s: nn.Linear(6, 4, device="meta")),
        "trunk.weight is on meta; build models on the CPU",
    ),
    "a head [N]": (
        Parts(MLP((4,)).trunk, lambda f, o: nn.Sequential(nn.Linear(f, 1), nn.Flatten(0))),
        r"needs \(2, 3\)",
    ),
    "a head's tuple": (
        Parts(MLP((4,)).trunk, lambda f, o: nn.LSTM(f, o)),
        "the head of task 'a' gives a tuple for B=2",
    ),
    "a head of double outputs": (
        Parts(MLP((4,)).trunk, lambda f, o: nn.Sequential(nn.Linear(f, o), Forward(Tensor.double, o))),
        "head of task 'a' gives",
    ),
    "a counter": (after(Counts()), r"the trunk changes 1.calls when it is called, a state"),
    "a hidden counter": (after(Later()), "gives other numbers when it is called again"),
    "a power iteration": (
        after(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))),
        "the trunk changes .* state",
    ),
    "an embedding that renorms": (after(nn.EmbeddingBag(3, 4, max_norm=0.1)), "fails|changes"),
    "inputs written to": (
        Parts(lambda s: nn.Sequential(nn.Hardtanh(0.2, 0.4, inplace=True), nn.Linear(6, 4))),
        "changes its input in place, .* leave out inplace=True",
    ),
    "one head for all": (
        Parts(MLP((4,)).trunk, lambda f, o: nn.Sequential(SHARED_HEAD, nn.Linear(4, o))),
        "head of task 'b' shares its parameter 0.weight with the head of task 'a'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    model, message = REFUSED[case]
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=message) as error:
        build(model, (6,), TASKS, 0, False)
    assert "\n" not in str(error.value) and str(error.value).startswith("Parts()")
    assert torch.equal(torch.get_rng_state(), state)


def tied() -> Parts:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Linear(6, 6)
            self.down = nn.Linear(6, 6)
            self.down.weight = self.up.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.down(torch.tanh(self.up(x)))

    return Parts(lambda _: Tied())


class Rounds(nn.Module):
    """In training, adds what float32 would round a row of so large a batch by, and float64 a billion times less."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.training * len(x) * 1e5 * torch.finfo(x.dtype).eps


def test_roundings_that_many_norms_enlarge_are_no_other_numbers() -> None:
    """Those of EfficientNet-B0 on images 32 x 32 are 1e-3. What else pads a batch otherwise does so in float64, too."""
    model: Any = after(nn.Dropout(0.1), Rounds())
    build(model, (6,), TASKS, 0, False)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


class Positions(nn.Module):
    """Buffers of whole numbers, truth values and fractions."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.arange(5, -1, -1))
        self.register_buffer("mask", torch.arange(6) % 2 > 0)
        self.register_buffer("shift", torch.rand(6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.mask, x[:, self.order], x + self.shift)  # type: ignore[index]


def hooked() -> Parts:
    def trunk(_: tuple[int, ...]) -> nn.Module:
        module = nn.Linear(6, 4)
        module.register_forward_hook(lambda _module, _inputs, output: 2 * torch.as_tensor(output))
        return module

    return Parts(trunk)


WORK: dict[str, Any] = {
    "GroupNorm": after(nn.GroupNorm(2, 4)),
    "LayerNorm": after(nn.LayerNorm(4)),
    "InstanceNorm": after(nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2), nn.Flatten()),
    "InstanceNorm with statistics": after(
        nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten()
    ),
    "BatchNorm of all batches so far": after(nn.BatchNorm1d(4, momentum=None)),
    "BatchNorm without scale": after(nn.BatchNorm1d(4, affine=False)),
    "dropout of nothing": after(nn.Dropout(0.0)),
    "Dropout": after(nn.Dropout(0.5)),
    "Dropout of all": after(nn.Dropout(1.0)),
    "Dropout1d": after(nn.Unflatten(1, (2, 2)), nn.Dropout1d(0.5), nn.Flatten()),
    "AlphaDropout": after(nn.SELU(), nn.AlphaDropout(0.1)),
    "FeatureAlphaDropout": after(nn.Unflatten(1, (2, 2)), nn.FeatureAlphaDropout(0.1), nn.Flatten()),
    "RReLU": after(nn.RReLU()),
    "dropout in forward": doing(lambda x: F.dropout(x, 0.3)),
    "Dropout in a head": Parts(MLP((4,)).trunk, lambda f, o: nn.Sequential(nn.Dropout(0.5), nn.Linear(f, o))),
    "BatchNorm": after(nn.BatchNorm1d(4)),
    "a lazy BatchNorm": after(nn.LazyBatchNorm1d()),
    "a buffer that counts": after(RunningCalls()),
    "a transformer without dropout": transformer(0.0),
    "a transformer": transformer(0.1),
    "an LSTM": Parts(lambda _: Last()),
    "an LSTM with dropout": Parts(lambda _: Last(0.3)),
    "a GRU with dropout": Parts(lambda _: Last(0.3, nn.GRU)),
    "lazy layers": Parts(
        lambda _: nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(4)), lambda f, o: nn.LazyLinear(o)
    ),
    "tied parameters": tied(),
    "unused parameters": Parts(lambda _: Unused()),
    "buffers": Parts(lambda _: nn.Sequential(Positions(), nn.Linear(6, 4))),
    "a forward hook": hooked(),
    "evaluation mode": Parts(lambda _: nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5)).eval()),
    "weight norm": after(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))),
    "inplace between layers": after(nn.ReLU(inplace=True)),
}


def arrays(clients: int = 3, x: Callable[[int], Any] | None = None, rows: int = 12) -> Any:
    draw = np.random.default_rng(1)
    make = x or (lambda n: draw.standard_normal((n, 6)))
    return from_arrays({k: (make(rows), labels(rows)) for k in range(clients)})


def labels(rows: int) -> dict[str, Any]:
    return {"a": np.arange(rows) % 3, "b": np.arange(rows) % 2}


def trained(model: Any, data: Any = None, **changes: Any) -> Any:
    given = {"algorithm": FedAvg(lr=0.1, epochs=1), "rounds": 2, "batch_size": 8, "runtime": "InProcess", **changes}
    return run(Experiment(name="t", data=data or arrays(), model=model, **given))


@pytest.mark.parametrize("case", WORK)
def test_what_works(case: str) -> None:
    """In both engines, to the same numbers but for rounding, and twice to the same bits.

    In one batch a round, in which the smallest client's rows are padded where clients are stacked.
    """
    data = from_arrays({k: (DRAW.standard_normal((n, 6)), labels(n)) for k, n in enumerate((12, 8))})
    loop, again, vmap = (trained(WORK[case], data, engine=engine, batch_size=0) for engine in ("loop", "loop", "vmap"))
    assert loop.summary["digests"] == again.summary["digests"]
    assert vmap.summary["mean_score"] == pytest.approx(loop.summary["mean_score"], abs=0.1)


def test_default_type(request: pytest.FixtureRequest) -> None:
    """A notebook's float64 changes no bit, and is there again afterwards."""
    expected = trained(MLP((4,)), algorithm=FedPer(epochs=1)).summary["digests"]
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(torch.float64)
    for engine in ("vmap", "loop"):
        found = trained(MLP((4,)), algorithm=FedPer(epochs=1), engine=engine).summary["digests"]
        assert engine == "loop" or found == expected
    assert torch.get_default_dtype() == torch.float64


# ---- frozen parameters ----------------------------------------------------------------------------------------------


def frozen(_: tuple[int, ...]) -> nn.Module:
    trunk = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    trunk[0].requires_grad_(False)
    return trunk


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_frozen_parameters_stay_and_are_not_sent(engine: str) -> None:
    """As the same numbers in a buffer; 24 + 2 tasks' heads of 15 and 5 numbers travel, not the frozen 35."""
    model: Any = Parts(frozen)
    module = build(model, (6,), TASKS, 0, False)
    assert sorted(initial_params(module)) == sorted(
        [f"{part}.{kind}" for part in ("trunk.2", "head.a", "head.b") for kind in ("weight", "bias")]
    )
    assert dict(module.named_buffers())["trunk.0.weight"].shape == (5, 6)
    result = trained(Parts(frozen), engine=engine)

    class Buffers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first, self.last = nn.Linear(6, 5), nn.Linear(5, 4)
            self.register_buffer("weight", first.weight.detach())
            self.register_buffer("bias", first.bias.detach())

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(F.linear(x, self.weight, self.bias)))  # type: ignore[arg-type]

    other = trained(Parts(lambda _: Buffers()), engine=engine)
    assert result.summary["mean_score"] == other.summary["mean_score"]


def test_plans_differ_where_frozen_numbers_do() -> None:
    """The other side's packets are refused when its frozen numbers are others."""
    data = arrays().load(0)
    plans = []
    for shift in (0.0, 1.0):
        model = Parts(lambda shape, shift=shift: nn.Sequential(frozen(shape), Forward(lambda x: x, 4)))
        experiment = Experiment(name="t", data=arrays(), model=model, runtime="InProcess")
        plan = experiment.make_plan(data)
        plans.append(plan)
        if shift:
            with torch.no_grad():
                next(iter(plan.module.buffers())).add_(shift)
    assert plans[0].digest != plans[1].digest


# ---- whole numbers --------------------------------------------------------------------------------------------------


def tokens(_: tuple[int, ...]) -> nn.Module:
    return nn.Sequential(nn.Embedding(10, 3), nn.Flatten(), nn.Linear(18, 4))


def whole(kind: Any, high: int = 10) -> Callable[[int], Any]:
    draw = np.random.default_rng(2)
    return lambda n: draw.integers(0, high, (n, 6)).astype(kind)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_tokens_reach_an_embedding(kind: str, engine: str) -> None:
    assert trained(Parts(tokens), arrays(x=whole(kind)), engine=engine).summary["digests"]["rows"]


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("kind", ["bool", "uint8", "int16", "int64"])
def test_whole_numbers_for_a_model_of_floats(kind: str, engine: str) -> None:
    """To the bits of the same numbers given as floats."""
    make = whole(kind, 2 if kind == "bool" else 200)
    rows = {k: make(12) for k in range(3)}
    labels = {"a": np.arange(12) % 3}
    results = [
        trained(MLP((4,)), from_arrays({k: (x.astype(kind), labels) for k, x in rows.items()}), engine=engine)
        for kind in (kind, "float32")
    ]
    assert results[0].summary["digests"] == results[1].summary["digests"]


def test_images_of_bytes_reach_a_cnn() -> None:
    images = lambda n: DRAW.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)  # noqa: E731
    assert trained(CNN((2,), 4), arrays(x=images)).summary["mean_score"] >= 0


def test_axes_of_images() -> None:
    """Channels last, grey images without a channel."""
    images = lambda *shape: arrays(x=lambda n: DRAW.random((n, *shape)))  # noqa: E731
    with pytest.raises(ValueError, match=r"\(8, 8, 3\), where channels seem to be last; use x.transpose\(0, 3, 1, 2\)"):
        trained(CNN((2,), 4), images(8, 8, 3))
    with pytest.raises(ValueError, match=r"\(8, 8\); try MLP, or x\[:, None\] for grey images"):
        trained(CNN((2,), 4), images(8, 8))
    assert trained(CNN((2,), 4), images(3, 8, 8)).summary["mean_score"] >= 0


def test_whole_numbers_that_merge_are_refused_by_a_model_of_floats() -> None:
    """At a run, and on a node that loads its own clients: 240 ids, of which float32 tells every second apart."""
    ids = np.arange(2**24, 2**24 + 240)[:, None]
    data = from_arrays({0: {"train": (ids, {"a": np.arange(240) % 2}), "test": (ids[:2], {"a": [0, 1]})}})
    message = "119 of 240 distinct values in feature 0"
    with pytest.raises(ValueError, match=message):
        trained(MLP((4,)), data)
    experiment = Experiment(name="t", data=data, model=MLP((4,)), runtime="InProcess")
    federation = data.load(0)
    with pytest.raises(ValueError, match=message):
        ClientPool(experiment.make_plan(federation), federation.clients, experiment.make_engine())


def test_a_token_that_the_table_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"inputs from 0 to 11: the trunk fails .*index out of range"):
        trained(Parts(tokens), arrays(x=whole("int64", 12)))


# ---- parts without parameters ---------------------------------------------------------------------------------------

ONCE: dict[str, Any] = {"engine": "loop", "batch_size": 0}
"""One step an epoch."""
HEADLESS = Parts(lambda _: nn.Linear(6, 1), lambda f, o: nn.Identity())
NOT_HERE = (
    "Mocha",
    "FedBN",
    "FFALoRA",
    "FedSALoRA",
    "FlexLoRA",
    "FLoRA",
)  # they need models of their own, and are refused with any of these
TRUNK_ALONE = (
    "FedPer FedRep SoftSharing CrossStitch FedBABU Transfer GraphStructured MaTFL ServerCAGrad ServerPCGrad "
    "ServerGradientSurgery "
    "TaskWeighted LayerSchedule"
).split()


@pytest.mark.parametrize("name", [name for name in REGISTRY["algorithm"] if name not in NOT_HERE])
def test_a_trunk_without_parameters(name: str, tmp_path: Path) -> None:
    """The built-in Linear: what shares more than a trunk trains, the rest is refused before anything is written."""
    data = arrays()
    if name in TRUNK_ALONE or name == "FedAMP":
        message = "has nothing to send: its .* trunk alone" if name != "FedAMP" else "likeness of their trunks"
        with pytest.raises(ValueError, match=message) as error:
            run(
                Experiment(name="t", data=data, model=Linear(), algorithm=name, rounds=1, runtime="InProcess"),
                tmp_path / "o",
            )
        assert "\n" not in str(error.value) and not (tmp_path / "o").exists()
    else:
        assert 0 <= trained(Linear(), data, **ONCE, algorithm=name).summary["mean_score"] <= 1


@pytest.mark.parametrize("name", [name for name in REGISTRY["algorithm"] if name not in NOT_HERE])
def test_heads_without_parameters(name: str) -> None:
    """A trunk that predicts: it trains, or one line names the algorithm and what is missing."""
    data = from_arrays({k: (DRAW.standard_normal((12, 6)), {"b": np.arange(12) % 2}) for k in range(3)})
    refused = {
        "Ensemble": "needs a head with parameters for each task",
        "TaskWeighted": "needs a head with parameters for each task",
        "LGFedAvg": "nothing to send: its broadcast holds heads alone",
    }
    if name in refused:
        with pytest.raises(ValueError, match=refused[name]) as error:
            trained(HEADLESS, data, algorithm=name)
        assert "\n" not in str(error.value)
    else:
        assert 0 <= trained(HEADLESS, data, **ONCE, algorithm=name).summary["mean_score"] <= 1


def test_a_model_without_parameters() -> None:
    data = from_arrays({0: (DRAW.standard_normal((12, 6)), {"b": np.arange(12) % 2})})
    for algorithm in ("FedAvg", "Local", "FedPer"):
        with pytest.raises(ValueError, match="has no parameter to learn; give its trunk or its heads some"):
            trained(Parts(lambda _: Sum(), lambda f, o: nn.Identity()), data, algorithm=algorithm)


def test_hca_without_a_trunk_still_joins_heads() -> None:
    """With one client, A = Δ, the softmax of one number being 1; so with β = 1 its head moves by Δ + A = 2 Δ. The part
    of α, of no numbers, changes nothing."""
    first = {"head.b.weight": torch.zeros(1, 2)}
    method = FedHCA2(alpha=1.0, beta=1.0)
    server = method.register_clients(method.init_server(first, CTX), {0: first})
    sent = {"head.b.weight": torch.tensor([[1.0, -2.0]])}
    server = method.aggregate(server, [(0, Upload({"model": sent}, 4.0))], CTX)
    assert torch.equal(server["0"].model["head.b.weight"], 2 * sent["head.b.weight"])


def _numpy(features: Tensor) -> Tensor:
    return torch.from_numpy(np.tanh(features.detach().numpy()))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Parts(lambda shape: Forward(_numpy)), "has no gradient"),
        (
            Parts(lambda shape: nn.Linear(shape[2], 4)),
            r"trunk\(\(6,\)\) fails \(IndexError: tuple index out of range\)",
        ),
        (
            Parts(lambda shape: nn.Linear(6, 4), lambda features, outputs: features / (outputs - outputs)),
            r"head\(4, 3\), of task 'a'",
        ),
    ],
)
def test_recipes_and_gradients_that_fail(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(model, (6,), TASKS, 0, False)
    assert "\n" not in str(caught.value)


def test_sparse_gradients_are_refused() -> None:
    model: Any = Parts(lambda shape: nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten()))
    with pytest.raises(ValueError, match="sparse=True"):
        build(model, (6,), TASKS, 0, True)


def test_gradients_that_count_padding_are_refused() -> None:
    """Padding has index 0: two more examples of padding in a batch would halve its gradient."""
    model: Any = Parts(lambda shape: nn.EmbeddingBag(9, 4, scale_grad_by_freq=True))
    with pytest.raises(ValueError, match="to which padding belongs; build it without scale_grad_by_freq=True"):
        build(model, (6,), TASKS, 0, True)


def test_features_that_are_no_numbers_are_no_writing_in_place() -> None:
    """On the example, which is not the data; where data do so, updates are not finite and are named."""
    model: Any = doing(lambda x: torch.log(x - 10))
    build(model, (6,), TASKS, 0, False)


@pytest.mark.parametrize("data", [np.ones((50, 6)), None, {0: (np.ones((50, 6)), {})}])
def test_what_is_no_data_set_is_refused_in_one_line(data: Any) -> None:
    with pytest.raises(ValueError) as caught:
        Experiment(name="t", data=data)
    assert "\n" not in str(caught.value)


def test_numpy_scalars_are_settings() -> None:
    found = Experiment(seed=np.int64(3), rounds=np.int32(2))  # type: ignore[arg-type]
    assert (found.seed, type(found.seed), found.rounds) == (3, int, 2)
    with pytest.raises(ValueError, match=r"^A cohort has at least 1 client, got cohort=0\.$"):
        Experiment(cohort=0)
