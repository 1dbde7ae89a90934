"""Seconds of a user's own ResNet-18 on twenty clients over Ray, stacked and in a loop, and how far they are apart.

    python simulations/benchmarks/own_network.py --width 64 --turns 3

The network is torchvision's, written as its users do, with BatchNorm, ReLU in place, and dropout before the last
layers, and given as an object, ``Experiment(model=net)``; each client has two tasks. A turn is a run with ``VMap`` and
one with ``Loop``, each of three rounds over Ray, timed as a whole, and from the end of the first round, which has
imports and tracing in it; the workers' seconds of processor time are beside, as a busy machine stretches all others.
They include the packing of updates, which a loop sends one by one and a stack as sums.
Turns follow each other (A B A B), and the table has the medians. The engines' own report says which functions ran
stacked. Three lines say what holds, and the exit code is 1 unless all do: every function was stacked, the shared
weights differ by less than 1e-4, and ``VMap`` took no more processor time than ``Loop``.

At widths of a few channels a stack is several times as fast as the loop. From a width of 12 on, a client's convolutions
are large: layers run one by one inside the stack, which has the loop's bits, also where rounding would be amplified.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fedmtl import Experiment, FedPer, Loop, MultiClass, VMap, from_arrays, run
from fedmtl.data.arrays import ArrayData
from fedmtl.engines.base import Cohort, Engine, TaskPadding
from fedmtl.engines.traits import EngineTraits

APART = 1e-4
"""Shared weights of the two engines differ by less."""


class BasicBlock(nn.Module):
    """As torchvision's: He et al. 2016, doi:10.1109/CVPR.2016.90."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    """Torchvision's layers, names and order, with dropout before the last layer, as people add it."""

    def __init__(self, width: int = 64, classes: int = 1000, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        for number in range(1, 5):
            inputs, outputs = sizes[number - 1 : number + 1]
            blocks = BasicBlock(inputs, outputs, 1 if number == 1 else 2), BasicBlock(outputs, outputs, 1)
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return self.dropout(torch.flatten(self.avgpool(x), 1))

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.features(x))


class TwoTasks(ResNet18):
    """A last layer for each task."""

    def __init__(self, width: int, dropout: float = 0.2) -> None:
        super().__init__(width, 10, dropout)
        self.side = nn.Linear(8 * width, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.features(x)
        return {"kind": self.fc(features), "side": self.side(features)}


def pictures(clients: int, examples: int, side: int) -> ArrayData:
    """Noise with ten kinds of pattern in it, on the left or on the right; half as many test examples."""
    draw = np.random.default_rng(0)
    patterns = draw.standard_normal((10, 3, side, side // 2)).astype(np.float32)
    found: dict[int, Any] = {}
    for client in range(clients):
        parts = {}
        for part, count in (("train", examples), ("test", examples // 2)):
            kind, right = draw.integers(0, 10, count), draw.integers(0, 2, count)
            x = draw.standard_normal((count, 3, side, side)).astype(np.float32)
            for row in range(count):
                x[row, :, :, right[row] * (side // 2) :][..., : side // 2] += patterns[kind[row]]
            parts[part] = x, {"kind": kind, "side": right}
        found[client] = parts
    return from_arrays(found, tasks={"kind": MultiClass(10), "side": MultiClass(2)})


@dataclass(frozen=True)
class Reporting:
    """An engine that leaves its report in a folder, a file for each process."""

    engine: Any
    folder: str
    traits = EngineTraits()

    @property
    def device(self) -> str:
        return self.engine.device

    def on(self, device: str) -> "Reporting":
        return replace(self, engine=self.engine.on(device))

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        now, file = time.process_time(), Path(self.folder, f"{os.getpid()}.json")
        begin = json.loads(file.read_text())["begin"] if file.exists() else now
        found = self.engine.map(cohorts, padding)
        report = self.engine.report() if isinstance(self.engine, VMap) else {}
        file.write_text(json.dumps({"report": report, "begin": begin, "seconds": time.process_time() - begin}))
        return found


class Timed(NamedTuple):
    """One run."""

    seconds: float
    round: float
    """Seconds of each round after the first."""
    processor: float
    """Seconds that all workers computed from their first client to their last, packing of updates included."""
    report: list[str]
    """A line for each process and function."""
    state: dict[str, Tensor]


def measure(engine: Engine, width: int, clients: int, examples: int, side: int, workers: int) -> Timed:
    """Run three rounds; equal arguments begin with equal weights, batches and dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TwoTasks(width)
    with tempfile.TemporaryDirectory(prefix="fedmtl-own-") as folder:
        experiment = Experiment(
            name="own-network",
            data=pictures(clients, examples, side),
            model=net,
            algorithm=FedPer(lr=0.01, epochs=1),
            rounds=3,
            batch_size=0,
            evaluate_every=100,
            engine=Reporting(engine, folder),
            runtime=f"Ray(workers={workers})" if workers else "InProcess",
        )
        ends = [time.perf_counter()]
        result = run(experiment, on_round=lambda progress: ends.append(time.perf_counter()))
        left = [json.loads(file.read_text()) for file in sorted(Path(folder).glob("*.json"))]
    report = [f"{name}: {text}" for own in left for name, text in own["report"].items()]
    processor = sum(own["seconds"] for own in left)
    return Timed(ends[-1] - ends[0], (ends[3] - ends[1]) / 2, processor, report, dict(result.state))


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the greatest difference of the shared weights and statistics."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="channels of the first layer; torchvision's is 64")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--examples", type=int, default=16, help="training examples of a client, one batch")
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--workers", type=int, default=2, help="of Ray; 0 runs in this process")
    parser.add_argument("--chunk", type=int, default=0, help="clients of a stack; 0 is measured")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    size = given.width, given.clients, given.examples, given.side, given.workers
    runs: list[tuple[Timed, Timed]] = []
    print(f"{'turn':>6}  {'engine':>6}  {'run':>8}  {'round':>8}  {'processor':>9}  {'apart':>8}")
    for turn in range(given.turns):
        pair = measure(VMap(chunk=given.chunk), *size), measure(Loop(), *size)
        runs.append(pair)
        for name, one in zip(("VMap", "Loop"), pair, strict=True):
            far = f"{apart(pair[0].state, pair[1].state):.1e}" if name == "Loop" else ""
            print(_line(turn + 1, name, one.seconds, one.round, one.processor, far), flush=True)
    medians: list[float] = []
    for place, name in enumerate(("VMap", "Loop")):
        own = [pair[place] for pair in runs]
        medians.append(median(one.processor for one in own))
        whole, each = median(one.seconds for one in own), median(one.round for one in own)
        print(_line("median", name, whole, each, medians[-1], ""))
    lines = sorted({line for pair in runs for line in pair[0].report})
    furthest = max(apart(*(each.state for each in pair)) for pair in runs)
    print(*lines, sep="\n")
    print(f"load {os.getloadavg()[0]:.1f}, furthest apart after three rounds {furthest:.1e}")
    holds = {
        "every function is stacked": bool(lines) and not any("client by client" in line for line in lines),
        f"less than {APART:.0e} apart": furthest < APART,
        f"no slower: {medians[0] / medians[1]:.2f} of the loop's processor time": medians[0] <= medians[1],
    }
    print(*(f"{'holds' if held else 'FAILS'}  {what}" for what, held in holds.items()), sep="\n")
    return int(not all(holds.values()))


def _line(turn: object, name: str, run: float, round: float, processor: float, far: str) -> str:
    return f"{turn!s:>6}  {name:>6}  {run:>6.1f} s  {round:>6.2f} s  {processor:>7.1f} s  {far:>8}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
