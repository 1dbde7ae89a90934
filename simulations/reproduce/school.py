"""School: how much of the pupils' examination scores do models of 139 schools explain, alone, as one, and related?

    python simulations/reproduce/school.py --splits 3

As Argyriou, Evgeniou and Pontil do (Machine Learning 73, 2008): random splits, three quarters of each school's
pupils to learn from. With e the error on test pupils, sums over all of them, and ȳ the mean of their scores, of
all clients (1) or of their school (2):

    total  = 1 − Σ e² / Σ (y − ȳ)²                                                            (1)
    within = Σ_k (1 − Σ_{i of k} e_i² / Σ_{i of k} (y_i − ȳ_k)²) / K      schools weigh alike (2)
             and the same weighted by pupils                                                  (3)

Models are linear, trained by fedmtl's run path with whole batches. For each split, every method is tuned on a grid of
16 settings (``tune.py``): it learns from three quarters of each school's training pupils, and the setting and round
that explain most of the other training pupils, by (1), are trained on all training pupils and tested once. The test
pupils of a split choose nothing in that split. The exact ridge, school by school and of all, is solved in numpy, its
penalty chosen on the same pupils from 16 as well.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from loaders import School, once
from numpy.typing import NDArray
from summary import Row, paired, table
from torch import nn
from tune import Axis, Choice, Method, by_client, check_equal, choose, run_to_the_end, steps, thinned

from fedmtl import Experiment, FedAvg, Federation, FedPer, FedRep, Local, Pooled
from fedmtl.algorithms import MRMTL, Ditto
from fedmtl.models import Linear

Array = NDArray[np.float64]

EPOCHS = 10
"""Steps of a round."""
MEASURED = 12
"""Measurements of a run."""


@dataclass(frozen=True)
class Subspace:
    """Linear, through ``width`` features that the clients share where an algorithm shares the trunk."""

    width: int = 6

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), self.width, bias=False))

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


RATES = Axis("lr", steps(0.001, 1.35, 16))
"""Two over the largest curvature of a school is 0.0128: rare features are large where they are common."""
FEW_RATES = Axis("lr", steps(0.0025, 2, 4))
SUBSPACE_RATES = Axis("lr", steps(0.01, 2, 4))
"""A product of two small matrices starts flat."""
STRENGTHS = Axis("lam", (1.0, 3.0, 10.0, 30.0))
WIDTHS = Axis("width", (2, 4, 8, 16))

METHODS: tuple[Method, ...] = (
    Method("Local", lambda lr: (Local(lr=lr, epochs=EPOCHS), Linear()), (RATES,)),
    Method("Pooled", lambda lr: (Pooled(lr=lr, epochs=EPOCHS), Linear()), (RATES,)),
    Method("FedAvg", lambda lr: (FedAvg(lr=lr, epochs=EPOCHS), Linear()), (RATES,)),
    Method("MR-MTL", lambda lr, lam: (MRMTL(lr=lr, epochs=EPOCHS, lam=lam), Linear()), (FEW_RATES, STRENGTHS)),
    Method(
        "Ditto",
        lambda lr, lam: (Ditto(lr=lr, epochs=EPOCHS, personal_epochs=EPOCHS, lam=lam), Linear()),
        (FEW_RATES, STRENGTHS),
    ),
    Method(
        "FedPer",
        lambda lr, width: (FedPer(lr=lr, epochs=EPOCHS), Subspace(width)),
        (SUBSPACE_RATES, WIDTHS),
    ),
    Method(
        "FedRep",
        lambda lr, width: (FedRep(lr=lr, head_epochs=EPOCHS, trunk_epochs=EPOCHS), Subspace(width)),
        (SUBSPACE_RATES, WIDTHS),
    ),
)


class Explained(NamedTuple):
    """Score of one model and one split."""

    total: float
    """(1)."""
    within: float
    """(2)."""
    weighted: float
    """(3)."""


def explained(scores: list[Array], squares: Array) -> Explained:
    """From the measured scores of each school, and its Σ e² [K]."""
    all_pupils = np.concatenate(scores)
    own = np.array([((y - y.mean()) ** 2).sum() for y in scores])
    pupils = np.array([len(y) for y in scores])
    total = 1 - squares.sum() / ((all_pupils - all_pupils.mean()) ** 2).sum()  # (1)
    parts = 1 - squares / own
    return Explained(float(total), float(parts.mean()), float((pupils * parts).sum() / pupils.sum()))  # (2), (3)


def tested(data: Federation) -> list[Array]:
    """The scores of each school's test pupils."""
    return [client.test.y["score"].astype(np.float64) for client in data.clients.values()]


def curve(learner: tuple[Any, Any], data: School, split: int, rounds: int) -> dict[str, Explained]:
    """Variance that an algorithm and its model explain after each measured round; empty where training diverged."""
    algorithm, model = learner
    result = run_to_the_end(
        Experiment(
            name="school",
            data=data,
            model=model,
            algorithm=algorithm,
            rounds=rounds,
            evaluate_every=max(rounds // MEASURED, 1),
            batch_size=0,
            seed=split,
            runtime="InProcess",
        )
    )
    if result is None:
        return {}
    scores = tested(data.load(split))
    found: dict[str, Explained] = {}
    for round, errors in by_client(result).items():
        squares = np.array([errors[k] ** 2 * len(own) for k, own in enumerate(scores)])
        found[round] = explained(scores, squares)
    return found


def trained(method: Method, split: int, rounds: int, kept: Path | None) -> tuple[Explained, Choice]:
    """Variance that the method explains with the setting and round that are best on held-out training pupils."""

    def held_out(learner: tuple[Any, Any]) -> list[dict[int, float]]:
        found = once(kept, curve, learner, School(validation=True), split, rounds)
        return [{int(round): Explained(*of).total for round, of in found.items()}]

    choice = choose(method, held_out)
    found = once(kept, curve, method.make(**choice.setting), School(), split, rounds)
    return Explained(*found[str(choice.round)]), choice


def ridge(x: Array, y: Array, penalty: float) -> Callable[[Array], Array]:
    """argmin Σ (x·w + b − y)² + penalty ‖w‖², as a function of inputs."""
    mean, level = x.mean(0), y.mean()
    w = np.linalg.solve((x - mean).T @ (x - mean) + penalty * np.eye(x.shape[1]), (x - mean).T @ (y - level))
    return lambda inputs: (inputs - mean) @ w + level


def solved(data: Federation, penalty: float, together: bool) -> Explained:
    """Ridge of all pupils together, or school by school."""
    clients = list(data.clients.values())
    parts = [(c.train.x.astype(np.float64), c.train.y["score"].astype(np.float64)) for c in clients]
    if together:
        one = ridge(np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]), penalty)
        models = [one] * len(parts)
    else:
        models = [ridge(x, y, penalty) for x, y in parts]
    scores = tested(data)
    pairs = zip(models, clients, scores, strict=True)
    return explained(scores, np.array([((model(c.test.x.astype(np.float64)) - y) ** 2).sum() for model, c, y in pairs]))


def exact(split: int, together: bool) -> Explained:
    """With the penalty that is best on held-out training pupils."""
    penalties = 10.0 ** np.linspace(-1, 5, 16)
    held_out = School(validation=True).load(split)
    best = max(penalties, key=lambda penalty: solved(held_out, penalty, together).total)
    return solved(School().load(split), best, together)


def main(
    splits: Annotated[int, typer.Option(help="Random splits, from seed 0.", min=2)] = 3,
    rounds: Annotated[int, typer.Option(help=f"Rounds of {EPOCHS} steps, at most.", min=1)] = 25,
    only: Annotated[list[str] | None, typer.Option(help="Methods whose names begin so; Local and Pooled too.")] = None,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[bool, typer.Option(help="2 splits of 2 rounds, two settings, to see it run.")] = False,
) -> None:
    if quick:
        splits, rounds = 2, 2
    start = time.process_time()
    check_equal(METHODS)
    seeds = range(splits)
    found = {
        "ridge, school by school": [exact(split, together=False) for split in seeds],
        "ridge, all pupils": [exact(split, together=True) for split in seeds],
    }
    choices: dict[str, list[Choice]] = {}
    for method in thinned(METHODS) if quick else METHODS:
        if not only or method.name.startswith(("Local", "Pooled", *only)):
            pairs = [trained(method, split, rounds, kept) for split in seeds]
            found[method.name] = [what for what, _ in pairs]
            choices[method.name] = [choice for _, choice in pairs]
    percent = {name: [100 * what.total for what in each] for name, each in found.items()}
    print(table("explained variance (1), %", [Row(name, values) for name, values in percent.items()], digits=2))
    print("\n| method | within (2), % | by pupils (3), % | − Local | − Pooled |\n|---|---|---|---|---|")
    for name, each in found.items():
        parts = [f"{100 * np.mean([what[i] for what in each]):.2f}" for i in (1, 2)]
        gaps = [paired(percent[name], percent[other]) for other in ("Local", "Pooled") if name != other]
        cells = [f"{gap.mean:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]" for gap in gaps]
        if len(cells) == 1:
            cells.insert(0 if name == "Local" else 1, "")
        print(f"| {name} | {' | '.join([*parts, *cells])} |")
    print("\n| method | chosen, split by split |\n|---|---|")
    for name, each in choices.items():
        print(f"| {name} | {' / '.join(map(str, each))} |")
    print(f"\n{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    typer.run(main)
