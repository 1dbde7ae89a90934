"""Human Activity: thirty people, six activities, a phone at the waist. Does a person's own model pay?

    python simulations/reproduce/har.py --seeds 5

Anguita, Ghio, Oneto, Parra, Reyes-Ortiz. A Public Domain Dataset for Human Activity Recognition Using Smartphones.
ESANN 2013. Windows of 128 samples overlap by half, so that a random split of windows would put halves of test windows
into training. Here whole bouts (unbroken runs of windows of one activity) are tested on: of each person and activity a
quarter, at least one; a seed is a split.

The second table is the comparison of Smith, Chiang, Sanjabi, Talwalkar. Federated Multi-Task Learning. NeurIPS 2017,
Table 1 (arXiv:1705.10467): sitting against the rest, linear models, global, local and MOCHA.

The file is $FEDMTL_DATA/har_inertial/har_inertial.npz, or har_inertial.npz in ~/.cache/fedmtl.
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from loaders import once
from numpy.typing import NDArray
from summary import Row, paired, table

from fedmtl import (
    MLP,
    Binary,
    ClientData,
    Experiment,
    FedAvg,
    Federation,
    FedPer,
    FedRep,
    Local,
    MultiClass,
    Pooled,
    Split,
    TemporalCNN,
    run,
)
from fedmtl.algorithms import MRMTL, Ditto, Mocha
from fedmtl.models import Linear

SHA256 = "bc44b99dab7bd1e937fa677961a61b04a6d9f852cbc0e2d37345cfa6e206d28b"
SOURCE = "https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones"
SITTING = 3
"""The class of MOCHA's task."""


class Windows(NamedTuple):
    x: NDArray[np.float32]
    """[N, 128, 9], in g and rad/s."""
    y: NDArray[np.uint8]
    person: NDArray[np.uint8]
    bout: NDArray[np.uint16]


def find() -> Path:
    """Raises: FileNotFoundError where the file is at neither place."""
    folder = os.environ.get("FEDMTL_DATA")
    places = [Path(folder) / "har_inertial" / "har_inertial.npz"] if folder else []
    places.append(Path.home() / ".cache" / "fedmtl" / "har_inertial.npz")
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"Human Activity is not at {' or '.join(map(str, places))}. It is UCI's set of 30 people ({SOURCE}), inertial "
        "signals in one npz: X [10299, 128, 9] int16 with their scale, y, subject, and bout, the unbroken runs of "
        f"windows; sha256 {SHA256}. Put it there, or set FEDMTL_DATA."
    )


@cache
def read(path: Path) -> Windows:
    """Raises: ValueError where the file is another."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(f"{path} has sha256 {found}, expected {SHA256}; the numbers of the page are of that file.")
    with np.load(path) as arrays:
        x = arrays["X"].astype(np.float32) * np.float32(arrays["scale"])
        return Windows(x, arrays["y"], arrays["subject"], arrays["bout"])


def tested(windows: Windows, share: float, seed: int) -> NDArray[np.bool_]:
    """Which windows are of the bouts to test on: of each person and activity round(share · bouts), at least one."""
    draw = np.random.default_rng(seed)
    chosen: list[int] = []
    for person in np.unique(windows.person):
        for activity in np.unique(windows.y):
            bouts = np.unique(windows.bout[(windows.person == person) & (windows.y == activity)])
            chosen += draw.permutation(bouts)[: max(1, round(share * len(bouts)))].tolist()
    return np.isin(windows.bout, chosen)


def summaries(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean, standard deviation and energy (mean square) of each channel, [N, 27]."""
    return np.concatenate([x.mean(1), x.std(1), (x**2).mean(1)], axis=1)


@dataclass(frozen=True)
class HumanActivity:
    """A client for each person; inputs are standardised by the training windows of all."""

    signals: bool = False
    """Inputs are the windows, [9, 128]; else their summaries and a one, [28]."""
    sitting: bool = False
    """The task is sitting or not; else which of six activities."""
    share: float = 0.25
    """Of bouts, tested on."""

    def load(self, seed: int) -> Federation:
        windows = read(find())
        test = tested(windows, self.share, seed)
        x = windows.x.swapaxes(1, 2) if self.signals else summaries(windows.x)
        axes = (0, 2) if self.signals else 0
        mean, std = x[~test].mean(axes, keepdims=True), x[~test].std(axes, keepdims=True)
        x = (x - mean) / std
        if not self.signals:
            x = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)  # Mocha has no intercept
        y = windows.y == SITTING if self.sitting else windows.y
        parts = {
            int(person): ClientData(*(Split(x[rows], {"y": y[rows]}) for rows in ((who & ~test), (who & test))))
            for person in np.unique(windows.person)
            for who in [windows.person == person]
        }
        return Federation({"y": Binary() if self.sitting else MultiClass(6)}, x.shape[1:], parts)


class Score(NamedTuple):
    mean: float
    """Mean accuracy over people."""
    worst: float
    """Over the tenth of them that is worst: three people."""


def trained(data: HumanActivity, model: Any, algorithm: Any, rounds: int, seed: int) -> Score:
    experiment = Experiment(
        name="har",
        data=data,
        model=model,
        algorithm=algorithm,
        rounds=rounds,
        batch_size=16 * (30 if isinstance(algorithm, Pooled) else 1),  # as many steps an epoch as a person takes
        evaluate_every=rounds,
        seed=seed,
        runtime="local",
        engine="vmap",
        chunk=30,
    )
    task = run(experiment).summary["tasks"]["y"]
    return Score(task["client_mean"], task["worst_tenth"])


def compare(
    data: HumanActivity, model: Any, methods: Mapping[str, Any], rounds: int, seeds: int, kept: Path | None
) -> Mapping[str, Sequence[Score]]:
    scores = {}
    for name, algorithm in methods.items():
        scores[name] = [Score(*once(kept, trained, data, model, algorithm, rounds, seed)) for seed in range(seeds)]
    return scores


def report(title: str, scores: Mapping[str, Sequence[Score]], first: str) -> None:
    """Both measures, and each method's paired difference to the first."""
    print(f"## {title}\n")
    print(table("accuracy, mean over people", [Row(name, [s.mean for s in of]) for name, of in scores.items()]))
    print()
    print(table("accuracy, worst tenth", [Row(name, [s.worst for s in of]) for name, of in scores.items()]))
    print()
    for name, of in scores.items():
        if name != first and len(of) > 1:
            gap = paired([s.mean for s in of], [s.mean for s in scores[first]])
            print(f"{name} − {first}: {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]  ")
    print(flush=True)


def main(
    seeds: Annotated[int, typer.Option(help="How many splits of the bouts, from seed 0.")] = 5,
    rounds: Annotated[int, typer.Option(help="Rounds of two epochs.")] = 20,
    lr: Annotated[float, typer.Option(help="η, one for all methods.")] = 0.1,
    signals: Annotated[bool, typer.Option(help="A convolutional network on the windows, not on summaries.")] = False,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[bool, typer.Option(help="Few rounds, to see that it runs.")] = False,
) -> None:
    began = time.process_time()
    rounds = 2 if quick else rounds
    model = TemporalCNN(channels=(8, 16), hidden=32) if signals else MLP(hidden=(32,))
    six = {
        "Local": Local(lr=lr, epochs=2),
        "Pooled": Pooled(lr=lr, epochs=2),
        "FedAvg": FedAvg(lr=lr, epochs=2),
        "FedPer": FedPer(lr=lr, epochs=2),
        "FedRep": FedRep(lr=lr, head_epochs=1, trunk_epochs=1),
        "MR-MTL, λ = 0.1": MRMTL(lr=lr, epochs=2, lam=0.1),
        "Ditto, λ = 0.1": Ditto(lr=lr, epochs=2, personal_epochs=2, lam=0.1),
    }
    title = "Six activities, " + ("windows, TemporalCNN" if signals else "27 summaries, one hidden layer of 32")
    report(title, compare(HumanActivity(signals), model, six, rounds, seeds, kept), "Local")
    if not signals:
        sitting = HumanActivity(sitting=True)
        one = {
            "local": Local(lr=lr, epochs=2),
            "global (Pooled)": Pooled(lr=lr, epochs=2),
            "global (FedAvg)": FedAvg(lr=lr, epochs=2),
            "MR-MTL, λ = 0.1": MRMTL(lr=lr, epochs=2, lam=0.1),
        }
        scores = compare(sitting, Linear(intercept=False), one, rounds, seeds, kept)
        mocha = {"MOCHA, λ = 0.001": Mocha(lam=0.001)}
        scores = {**scores, **compare(sitting, Linear(intercept=False), mocha, min(rounds, 5), seeds, kept)}
        report("Sitting against the rest, linear in 27 summaries", scores, "local")
    print(f"{time.process_time() - began:.0f} s of processor")


if __name__ == "__main__":
    typer.run(main)
