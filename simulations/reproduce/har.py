"""Human Activity: thirty people, six activities, a phone at the waist. Does a person's own model pay?

    python simulations/reproduce/har.py --seeds 5

Anguita, Ghio, Oneto, Parra, Reyes-Ortiz. A Public Domain Dataset for Human Activity Recognition Using Smartphones.
ESANN 2013. Windows of 128 samples overlap by half, so that a random split of windows would put halves of test windows
into training. Here whole bouts (unbroken runs of windows of one activity) are tested on: of each person and activity a
quarter, at least one; a seed is a split.

The second table has linear models of the six activities, as Dinh, Vu, Tran, Dao, Zhang (arXiv:2102.07148) train them.
The third is the comparison of Smith, Chiang, Sanjabi, Talwalkar. Federated Multi-Task Learning. NeurIPS 2017, Table 1
(arXiv:1705.10467): sitting against the rest, linear models, global, local and MOCHA.

For each split, every method is tuned on a grid of 16 settings (``tune.py``): a quarter of the training bouts validates
what the others train, and the best setting and round train on all of them and are tested once. The test bouts of a
split choose nothing in that split.

The windows are those of fedmtl's data set ``har``; ``fedmtl data fetch har`` says how to place its file.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from loaders import divide, once
from numpy.typing import NDArray
from summary import Row, paired, table
from tune import Axis, Choice, Method, by_client, check_equal, choose, run_to_the_end, steps, thinned

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
    VMap,
)
from fedmtl.algorithms import MRMTL, FedU, Mocha
from fedmtl.data import har
from fedmtl.models import Linear

SITTING = 3
"""The class of MOCHA's task."""
MOCHA_ROUNDS = 100
"""One pass each."""
MEASURED = 6
"""Measurements of a run."""


class Windows(NamedTuple):
    x: NDArray[np.float32]
    """[N, 128, 9], in g and rad/s."""
    y: NDArray[np.int64]
    person: NDArray[np.int64]
    bout: NDArray[np.int64]


@cache
def read() -> Windows:
    """The windows of fedmtl's own data set, time first, as the summaries' last bits were made from."""
    found = har.read()
    return Windows(np.ascontiguousarray(found.x.swapaxes(1, 2)), found.activity, found.person, found.bout)


def tested(windows: Windows, share: float, seed: int) -> NDArray[np.bool_]:
    """Mask of windows of the bouts to test on: of each person and activity round(share · bouts), at least one."""
    draw = np.random.default_rng(seed)
    chosen = np.zeros(len(windows.y), bool)
    for rows in cells(windows, ~chosen):
        chosen[rows] = divide(windows.bout[rows], share, draw)
    return chosen


def validated(windows: Windows, test: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_]:
    """Mask of training windows of the bouts to validate on: as ``tested``, where two bouts or more are left."""
    draw = np.random.default_rng([seed, 1])
    chosen = np.zeros(len(windows.y), bool)
    for rows in cells(windows, ~test):
        if len(np.unique(windows.bout[rows])) > 1:
            chosen[rows] = divide(windows.bout[rows], share, draw)
    return chosen


def cells(windows: Windows, among: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """The rows of each person and activity."""
    for person in np.unique(windows.person):
        for activity in np.unique(windows.y):
            yield np.flatnonzero((windows.person == person) & (windows.y == activity) & among)


def summaries(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean, standard deviation and energy (mean square) of each channel, [N, 27]."""
    return np.concatenate([x.mean(1), x.std(1), (x**2).mean(1)], axis=1)


@dataclass(frozen=True)
class HumanActivity:
    """A client for each person; inputs are standardised by the training windows of all.

    With ``validation`` the windows to test on are left out, and clients test on a part of the others.
    """

    signals: bool = False
    """Inputs are the windows, [9, 128]; else their summaries and a one, [28]."""
    sitting: bool = False
    """The task is sitting or not; else which of six activities."""
    share: float = 0.25
    """Share of bouts that are tested on."""
    validation: bool = False

    def load(self, seed: int) -> Federation:
        windows = read()
        test = tested(windows, self.share, seed)
        if self.validation:
            kept, held = ~test, validated(windows, test, self.share, seed)
            windows = Windows(windows.x[kept], windows.y[kept], windows.person[kept], windows.bout[kept])
            test = held[kept]
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


def trained(learner: tuple[Any, Any], data: HumanActivity, rounds: int, seed: int) -> dict[str, Score]:
    """The score of an algorithm and its model after each measured round; empty where training diverged."""
    algorithm, model = learner
    experiment = Experiment(
        name="har",
        data=data,
        model=model,
        algorithm=algorithm,
        rounds=rounds,
        batch_size=16 * (30 if isinstance(algorithm, Pooled) else 1),  # as many steps an epoch as a person takes
        evaluate_every=max(rounds // MEASURED, 1),
        seed=seed,
        runtime="InProcess",
        engine=VMap(chunk=30),
    )
    result = run_to_the_end(experiment)
    if result is None:
        return {}
    found = {round: sorted(of.values()) for round, of in by_client(result).items()}
    return {round: Score(float(np.mean(of)), float(np.mean(of[: len(of) // 10]))) for round, of in found.items()}


def compare(
    data: HumanActivity, methods: Sequence[Method], rounds: int, seeds: int, kept: Path | None
) -> tuple[dict[str, list[Score]], dict[str, list[Choice]]]:
    """Test scores of each method, and what was chosen, split by split."""
    check_equal(methods)
    most = {method.name: MOCHA_ROUNDS if method is MOCHA else rounds for method in methods}
    scores: dict[str, list[Score]] = {method.name: [] for method in methods}
    choices: dict[str, list[Choice]] = {method.name: [] for method in methods}
    for seed in range(seeds):
        for method in methods:

            def validation(
                learner: tuple[Any, Any], seed: int = seed, name: str = method.name
            ) -> list[dict[int, float]]:
                found = once(kept, trained, learner, replace(data, validation=True), most[name], seed)
                return [{int(round): Score(*of).mean for round, of in found.items()}]

            choice = choose(method, validation)
            found = once(kept, trained, method.make(**choice.setting), data, most[method.name], seed)
            scores[method.name].append(Score(*found[str(choice.round)]))
            choices[method.name].append(choice)
    return scores, choices


def report(
    title: str, scores: Mapping[str, Sequence[Score]], choices: Mapping[str, Sequence[Choice]], first: str
) -> None:
    """Both measures, each method's paired difference to the first, and what was chosen."""
    print(f"### {title}\n")
    print(table("accuracy, mean over people", [Row(name, [s.mean for s in of]) for name, of in scores.items()]))
    print()
    print(table("accuracy, worst tenth", [Row(name, [s.worst for s in of]) for name, of in scores.items()]))
    print()
    for name, of in scores.items():
        if name != first and len(of) > 1:
            gap = paired([s.mean for s in of], [s.mean for s in scores[first]])
            print(f"- {name} − {first}: {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]")
    print("\n| method | chosen, split by split |\n|---|---|")
    for name, each in choices.items():
        print(f"| {name} | {' / '.join(map(str, each))} |")
    print(flush=True)


RATES = Axis("lr", steps(0.02, 1.5, 16))
FEW_RATES = Axis("lr", steps(0.05, 3, 4))
STRENGTHS = Axis("lam", (0.0, 0.01, 0.1, 1.0), bounds=(0.0,))
"""λ = 0 is Local, for MR-MTL and FedU: an end by nature."""
PEOPLE = 30


def with_model(model: Any) -> Sequence[Method]:
    """The methods that train any model, ``model``; FedU's β is λ / 30, so that its λ means what MR-MTL's does."""
    return (
        Method("Local", lambda lr: (Local(lr=lr, epochs=2), model), (RATES,)),
        Method("Pooled", lambda lr: (Pooled(lr=lr, epochs=2), model), (RATES,)),
        Method("FedAvg", lambda lr: (FedAvg(lr=lr, epochs=2), model), (RATES,)),
        Method("FedPer", lambda lr: (FedPer(lr=lr, epochs=2), model), (RATES,)),
        Method("FedRep", lambda lr: (FedRep(lr=lr, head_epochs=1, trunk_epochs=1), model), (RATES,)),
        Method("MR-MTL", lambda lr, lam: (MRMTL(lr=lr, epochs=2, lam=lam), model), (FEW_RATES, STRENGTHS)),
        Method("FedU", lambda lr, lam: (FedU(lr=lr, epochs=2, beta=lam / PEOPLE), model), (FEW_RATES, STRENGTHS)),
    )


MOCHA = Method(  # κ = 0 is the paper's
    "MOCHA",
    lambda lam, floor: (Mocha(lam=lam, floor=floor), Linear(intercept=False)),
    (Axis("lam", steps(0.0001, 10, 4)), Axis("floor", (0.0, 0.05, 0.2, 0.5), bounds=(0.0,))),
)


def only(methods: Sequence[Method], *names: str) -> list[Method]:
    return [method for method in methods if method.name in names]


def main(
    seeds: Annotated[int, typer.Option(help="How many splits of the bouts, from seed 0.")] = 3,
    rounds: Annotated[int, typer.Option(help="Rounds of two epochs, at most.")] = 12,
    tables: Annotated[str, typer.Option(help="Which of: hidden, linear, sitting.")] = "hidden linear sitting",
    mocha: Annotated[bool, typer.Option(help="MOCHA too, a hundred passes a setting.")] = True,
    signals: Annotated[bool, typer.Option(help="hidden: a convolutional network on windows, not summaries.")] = False,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[
        bool, typer.Option(help="Two rounds and settings, and the last table alone, to see that it runs.")
    ] = False,
) -> None:
    began = time.process_time()
    rounds = 2 if quick else rounds
    wanted = ["sitting"] if quick else tables.split()
    linear = with_model(Linear(intercept=False))
    if "hidden" in wanted:
        model = TemporalCNN(channels=(8, 16), hidden=32) if signals else MLP(hidden=(32,))
        six = only(with_model(model), "Local", "FedAvg", "FedPer", "FedRep", "MR-MTL")
        title = "Six activities, " + ("windows, TemporalCNN" if signals else "27 summaries, one hidden layer of 32")
        report(title, *compare(HumanActivity(signals), six, rounds, seeds, kept), "Local")
    if "linear" in wanted:
        convex = only(linear, "Local", "FedAvg", "FedU")
        found = compare(HumanActivity(), convex, rounds, seeds, kept)
        report("Six activities, linear in 27 summaries", *found, "Local")
    if "sitting" in wanted:
        binary = [*only(linear, "Local", "Pooled", "MR-MTL"), *([MOCHA] if mocha else [])]
        binary = thinned(binary) if quick else binary
        found = compare(HumanActivity(sitting=True), binary, rounds, seeds, kept)
        report("Sitting against the rest, linear in 27 summaries", *found, "Local")
    print(f"{time.process_time() - began:.0f} s of processor")


if __name__ == "__main__":
    typer.run(main)
