"""fedmtl on one GPU: does it compute what the CPU computes, and how fast; prints tables in Markdown.

    python simulations/benchmarks/gpu.py                # on a machine with a CUDA GPU, some minutes
    python simulations/benchmarks/gpu.py --small        # on any machine: that all of it runs

Everything is in one process (``runtime="InProcess"``), so that flwr and what it imports is all that a machine needs
beside torch and numpy. ``gpu.md`` lists the packages to carry to a machine without a network.
"""

import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu, silu
from torch.utils.flop_counter import FlopCounterMode

from fedmtl import CNN, MLP, Experiment, FedPer, Loop, VMap, run
from fedmtl.bench.data import TASK, Stored, read_part, write_data
from fedmtl.bench.workloads import WORKLOADS, Workload
from fedmtl.core.random import permutations
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.server.sampling import sample
from fedmtl.tasks.multiclass import MultiClass

TOKENS = 50
"""Size of the vocabulary of the models that read tokens."""


class Block(nn.Module):
    """Two 3×3 convolutions with group norm, and a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(2, outputs) for _ in range(2)])
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.GroupNorm(2, outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[1](self.second(self.activation(self.norms[0](self.first(x)))))
        return self.activation(y + self.shortcut(x))


def resnet18(input_shape: tuple[int, ...], width: int = 64, activation: Callable[[Tensor], Tensor] = relu) -> nn.Module:
    """ResNet-18 for small images, with group norm in place of batch norm."""
    layers: list[nn.Module] = [nn.Conv2d(input_shape[0], width, 3, 1, 1, bias=False), nn.GroupNorm(2, width)]
    inputs = width
    for level in range(4):
        for position in range(2):
            layers.append(Block(inputs, width * 2**level, 2 if level and not position else 1, activation))
            inputs = width * 2**level
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def normed_cnn(input_shape: tuple[int, ...]) -> nn.Module:
    """Two blocks of convolution, group norm and pooling."""
    layers: list[nn.Module] = []
    for inputs in (input_shape[0], 16):
        layers += [nn.Conv2d(inputs, 16, 3, padding=1), nn.GroupNorm(2, 16), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten())


class Encoder(nn.Module):
    """Two transformer layers over tokens, and a mean over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(self.embedding(x)).mean(1)


class Recurrent(nn.Module):
    """The last state of recurrent cells over tokens."""

    def __init__(self, cells: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 8)
        self.cells = cells(8, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cells(self.embedding(x))[0][:, -1]


@dataclass(frozen=True)
class Classifier:
    """A model of a trunk that a function makes of the input's shape, and linear heads."""

    make: Callable[[tuple[int, ...]], nn.Module]

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return self.make(input_shape)

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


class Kind(NamedTuple):
    """A kind of model, and the inputs that it is checked on; a shape of one axis is a row of tokens if ``tokens``."""

    model: Any
    shape: tuple[int, ...]
    tokens: bool = False


KINDS: dict[str, Kind] = {
    "MLP": Kind(MLP(hidden=(32,)), (20,)),
    "CNN": Kind(CNN(channels=(8, 8), hidden=16), (1, 12, 12)),
    "CNN, group norm": Kind(Classifier(normed_cnn), (1, 12, 12)),
    "transformer": Kind(Classifier(lambda shape: Encoder()), (9,), tokens=True),
    "LSTM": Kind(Classifier(lambda shape: Recurrent(nn.LSTM)), (9,), tokens=True),
    "GRU": Kind(Classifier(lambda shape: Recurrent(nn.GRU)), (9,), tokens=True),
    # Smooth: of a million rectified numbers some lie within rounding of 0, where either slope may be taken.
    "ResNet-18, group norm, SiLU": Kind(Classifier(partial(resnet18, width=8, activation=silu)), (3, 16, 16)),
}

RESNET = Workload("ResNet-18-GN", "MLP()", (3, 32, 32), clients=200, cohort=100, examples=64, rounds=3)


@dataclass(frozen=True)
class Drawn:
    """Eight clients, or fewer, of 20 to 27 examples of three classes."""

    kind: Kind
    clients: int

    def load(self, seed: int) -> Federation:
        clients = {}
        for client in range(self.clients):
            draw = np.random.default_rng([seed, client])
            n = 20 + client
            shape = (n, *self.kind.shape)
            x = draw.integers(TOKENS, size=shape) if self.kind.tokens else draw.standard_normal(shape, np.float32)
            split = Split(x, {TASK: draw.integers(3, size=n).astype(np.float32)})
            clients[client] = ClientData(split, split)
        return Federation({TASK: MultiClass(3)}, self.kind.shape, clients)


def farthest(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of two models' parameters."""
    return max((one[name].cpu() - other[name].cpu()).abs().max().item() for name in one)


def equality(device: str, clients: int, batch_size: int) -> list[Sequence[str]]:
    """Two rounds of each kind of model: engines "loop" and "vmap" on the device against "loop" on the CPU."""
    rows = []
    for name, kind in KINDS.items():
        experiment = Experiment(
            name=name, data=Drawn(kind, clients), model=kind.model, algorithm=FedPer(lr=0.01, epochs=1), rounds=2,
            batch_size=batch_size, runtime="InProcess", engine="loop",
        )  # fmt: skip
        expected, found = run(experiment).state, []
        for engine in (Loop(device), VMap(device=device)):
            try:
                state = run(replace(experiment, engine=engine)).state
                found.append(f"{farthest(state, expected):.1e}")
            except RuntimeError as error:  # the other kinds are worth knowing all the same
                found.append(f"failed: {str(error).splitlines()[0]}")
        rows.append((name, *found))
    return rows


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], Any], device: str, times: int = 10) -> float:
    """The median time of a call, after two that warm up."""
    found = []
    for turn in range(times + 2):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        if turn > 1:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def product(device: str, size: int) -> float:
    """FLOP/s of a float32 matrix product without TF32: what a layer in float32 can reach at best."""
    one, other = (torch.randn(size, size, device=device) for _ in range(2))
    return 2 * size**3 / seconds(lambda: one @ other, device)


class Speed(NamedTuple):
    """One system on one workload."""

    rate: float
    """Clients a second in the median round after the first."""
    first: float
    """Seconds of the first round, of fedmtl with the start."""
    peak: int
    """Bytes of device memory."""
    trunk: Mapping[str, Tensor]


def experiment_of(workload: Workload, model: Any, folder: Path, device: str) -> Experiment:
    made = workload.experiment(Stored(str(folder)), workers=1)
    return replace(made, model=model or made.model, runtime="InProcess", engine=VMap(device=device))


def with_fedmtl(experiment: Experiment, cohort: int, device: str) -> Speed:
    """Packets, ledger and strategy as in any run; the cohort stacked in chunks that fill the memory."""
    ends = [time.perf_counter()]
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    result = run(experiment, on_round=lambda progress: ends.append(time.perf_counter()))
    times = np.diff(ends)[: experiment.rounds]  # the last call is that of the round that only measures
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return Speed(cohort / float(np.median(times[1:])), float(times[0]), peak, result.state)


def plain_loop(experiment: Experiment, workload: Workload, folder: Path, device: str, rounds: int) -> Speed:
    """Client after client, as PyTorch is usually written, with the data on the device from the start."""
    plan = experiment.make_plan(Stored(str(folder)).sample())
    trunk, head = plan.module.trunk.to(device), plan.module.head[TASK].to(device)  # pyright: ignore[reportIndexIssue]
    plan.module.load_state_dict(plan.initial)
    network = nn.Sequential(trunk, head)
    x, y = (torch.from_numpy(array).to(device) for array in read_part(folder, "train"))
    y = y.long()
    server, first_head, heads = copied(trunk), copied(head), {}
    sizes, clients = np.full(workload.cohort, workload.examples), np.arange(workload.clients)
    times = []
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for t in range(1, rounds + 1):
        start = time.perf_counter()
        cohort = sample(workload.seed, t, clients, workload.cohort)
        orders = torch.from_numpy(permutations(workload.seed, t, cohort, "batches", sizes)).to(device)
        mean = {name: torch.zeros_like(value) for name, value in server.items()}
        for client, order in zip(cohort.tolist(), orders, strict=True):
            trunk.load_state_dict(server)
            head.load_state_dict(heads.get(client, first_head))
            optimizer = torch.optim.SGD(network.parameters(), lr=workload.lr)
            for rows in order.split(workload.batch_size):
                optimizer.zero_grad()
                cross_entropy(network(x[client][rows]), y[client][rows]).backward()
                optimizer.step()
            heads[client] = copied(head)
            for name, value in trunk.state_dict().items():
                mean[name] += value / workload.cohort
        server = mean
        synchronize(device)
        times.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return Speed(workload.cohort / statistics.median(times[1:]), times[0], peak, server)


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def flops_of(experiment: Experiment, workload: Workload, folder: Path) -> float:
    """Floating-point operations of one client's epoch: forward and backward, as torch counts them."""
    module = experiment.make_plan(Stored(str(folder)).sample()).module
    x = torch.randn(workload.batch_size, *workload.input_shape)
    with FlopCounterMode(display=False) as counter:
        module.head[TASK](module.trunk(x)).sum().backward()  # pyright: ignore[reportIndexIssue]
    return counter.get_total_flops() * workload.examples / workload.batch_size


def speeds(name: str, workload: Workload, model: Any, device: str, most: float, loops: int) -> list[Sequence[str]]:
    """A row for fedmtl and one for the plain loop on one workload."""
    with tempfile.TemporaryDirectory(prefix="fedmtl-gpu-") as temporary:
        folder = Path(temporary)
        write_data(workload, folder)
        experiment = experiment_of(workload, model, folder, device)
        work = flops_of(experiment, workload, folder)
        ours = with_fedmtl(experiment, workload.cohort, device)
        loop = plain_loop(experiment, workload, folder, device, loops)
    rows = []
    for system, speed in (("fedmtl", ours), ("plain loop", loop)):
        share = speed.rate * work / most
        rows.append(
            (name, system, f"{speed.rate:,.0f}", f"{speed.rate / loop.rate:.1f}×", f"{speed.first:.1f} s",
             f"{100 * share:.1f} %", f"{speed.peak / 1e9:.2f} GB" if speed.peak else "-")
        )  # fmt: skip
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def main(
    small: Annotated[bool, typer.Option("--small", help="Tiny sizes, on the CPU too: that it runs.")] = False,
    out: Annotated[Path | None, typer.Option(help="A file for the tables.")] = None,
) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not small:
        raise typer.BadParameter("torch sees no GPU here; --small runs everything in a small form on the CPU.")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    begin = time.perf_counter()
    parts: list[str] = []

    def say(text: str) -> None:
        parts.append(text)
        print(text + "\n", flush=True)
        if out is not None:
            out.write_text("\n\n".join(parts) + "\n")

    where = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    say(f"{where}, torch {torch.__version__}, Python {platform.python_version()}, float32 without TF32")
    most = product(device, 512 if small else 8192)
    say(f"A float32 matrix product reaches {most / 1e12:.1f} TFLOP/s.")
    say(table(("model", "loop on device", "vmap on device"), equality(device, *((2, 32) if small else (8, 8)))))
    works: list[tuple[str, Workload, Any]]
    if small:
        cut = {"clients": 4, "cohort": 2, "examples": 16, "rounds": 3}
        works = [(name, replace(WORKLOADS[name], **cut), None) for name in ("W1", "W2")]
        works.append(
            (
                "ResNet-18-GN",
                replace(RESNET, **cut | {"input_shape": (3, 8, 8)}),
                Classifier(partial(resnet18, width=4)),
            )
        )
    else:
        works = [("W1", replace(WORKLOADS["W1"], rounds=12), None), ("W2", replace(WORKLOADS["W2"], rounds=30), None)]
        works.append(("ResNet-18-GN", RESNET, Classifier(resnet18)))
    rows: list[Sequence[str]] = []
    for name, workload, model in works:
        rows += speeds(name, workload, model, device, most, 3 if small or name != "ResNet-18-GN" else 2)
    say(table(("workload", "system", "clients/s", "of the loop", "first round", "of the product", "peak memory"), rows))
    say(f"{time.perf_counter() - begin:.0f} s in all.")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
