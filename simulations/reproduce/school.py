"""School: how much of the pupils' examination scores do models of 139 schools explain, alone, as one, and related?

    python simulations/reproduce/school.py --splits 10

As Argyriou, Evgeniou and Pontil do (Machine Learning 73, 2008): ten random splits, three quarters of each school's
pupils to learn from. With e the error on test pupils, sums over all of them, and ȳ the mean of their scores, of
everybody (1) or of their school (2):

    total  = 1 − Σ e² / Σ (y − ȳ)²                                                            (1)
    within = Σ_k (1 − Σ_{i of k} e_i² / Σ_{i of k} (y_i − ȳ_k)²) / K      schools weigh alike (2)
             and the same weighted by pupils                                                  (3)

Models are linear, trained by fedmtl's run path with whole batches. How long to train, and nothing else, is chosen for
each method and split: the measured round after which a model that learnt from three quarters of the training pupils
explains most of the others. Every strength is shown. The exact ridge, school by school and of all, is solved in numpy,
its penalty chosen on the same pupils.
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

from fedmtl import Experiment, FedAvg, Federation, FedPer, FedRep, Local, Pooled, run
from fedmtl.algorithms import MRMTL, Ditto
from fedmtl.models import Linear

Array = NDArray[np.float64]

LR = 0.01
"""Two over the largest curvature of a school is 0.0128: rare features are large where they are common."""
SUBSPACE_LR = 0.03
"""A product of two small matrices starts flat."""
EPOCHS = 10


@dataclass(frozen=True)
class Subspace:
    """Linear, through ``width`` features that the clients share where an algorithm shares the trunk."""

    width: int = 6

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), self.width, bias=False))

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


class Method(NamedTuple):
    name: str
    algorithm: Any
    model: Any = Linear()


def methods() -> list[Method]:
    same = {"lr": LR, "epochs": EPOCHS}
    return [
        Method("Local", Local(**same)),
        Method("Pooled", Pooled(**same)),
        Method("FedAvg", FedAvg(**same)),
        *[Method(f"MR-MTL, λ {lam}", MRMTL(**same, lam=lam)) for lam in (0.3, 1.0, 3.0, 10.0)],
        Method("Ditto, λ 3.0", Ditto(**same, personal_epochs=EPOCHS, lam=3.0)),
        Method("FedPer, 6 features", FedPer(lr=SUBSPACE_LR, epochs=EPOCHS), Subspace()),
        Method("FedRep, 6 features", FedRep(lr=SUBSPACE_LR, head_epochs=EPOCHS, trunk_epochs=EPOCHS), Subspace()),
    ]


class Explained(NamedTuple):
    """Of one model and one split."""

    total: float
    """(1)."""
    within: float
    """(2)."""
    weighted: float
    """(3)."""


def explained(scores: list[Array], squares: Array) -> Explained:
    """From the measured scores of each school, and its Σ e² [K]."""
    everybody = np.concatenate(scores)
    own = np.array([((y - y.mean()) ** 2).sum() for y in scores])
    pupils = np.array([len(y) for y in scores])
    total = 1 - squares.sum() / ((everybody - everybody.mean()) ** 2).sum()  # (1)
    parts = 1 - squares / own
    return Explained(float(total), float(parts.mean()), float((pupils * parts).sum() / pupils.sum()))  # (2), (3)


def tested(data: Federation) -> list[Array]:
    """The scores of each school's test pupils."""
    return [client.test.y["score"].astype(np.float64) for client in data.clients.values()]


def curve(method: Method, data: School, split: int, rounds: int) -> dict[int, Explained]:
    """What the model explains after each measured round."""
    result = run(
        Experiment(
            name=method.name,
            data=data,
            model=method.model,
            algorithm=method.algorithm,
            rounds=rounds,
            evaluate_every=max(rounds // 12, 1),
            batch_size=0,
            seed=split,
            runtime="local",
        )
    )
    scores = tested(data.load(split))
    squares: dict[int, dict[int, float]] = {}
    for row in result.rows:
        if row["client"] is not None:
            squares.setdefault(row["round"], {})[row["client"]] = row["value"] ** 2 * row["examples"]
    return {round: explained(scores, np.array([of[k] for k in sorted(of)])) for round, of in squares.items()}


def trained(method: Method, split: int, rounds: int) -> tuple[Explained, int]:
    """What the model explains after the round that is best on held-out training pupils, and that round."""
    held_out = curve(method, School(validation=True), split, rounds)
    best = max(held_out, key=lambda round: held_out[round].total)
    return curve(method, School(), split, rounds)[best], best


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
    penalties = 10.0 ** np.arange(-1, 4.5, 0.5)
    held_out = School(validation=True).load(split)
    best = max(penalties, key=lambda penalty: solved(held_out, penalty, together).total)
    return solved(School().load(split), best, together)


def main(
    splits: Annotated[int, typer.Option(help="Random splits, from seed 0.", min=2)] = 10,
    rounds: Annotated[int, typer.Option(help=f"Rounds of {EPOCHS} steps, at most.", min=1)] = 25,
    only: Annotated[list[str] | None, typer.Option(help="Methods whose names begin so; Local and Pooled too.")] = None,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[bool, typer.Option(help="2 splits of 6 rounds, to see it run.")] = False,
) -> None:
    if quick:
        splits, rounds = 2, 6
    start = time.process_time()
    seeds = range(splits)
    found = {
        "ridge, school by school": [exact(split, together=False) for split in seeds],
        "ridge, all pupils": [exact(split, together=True) for split in seeds],
    }
    stops: dict[str, list[int]] = {}
    for method in methods():
        if not only or method.name.startswith(("Local", "Pooled", *only)):
            pairs = [once(kept, trained, method, split, rounds) for split in seeds]
            found[method.name] = [Explained(*what) for what, _ in pairs]
            stops[method.name] = [stop for _, stop in pairs]
    percent = {name: [100 * what.total for what in each] for name, each in found.items()}
    print(table("explained variance (1), %", [Row(name, values) for name, values in percent.items()], digits=2))
    print("\n| method | within (2), % | by pupils (3), % | rounds | − Local | − Pooled |\n|---|---|---|---|---|---|")
    for name, each in found.items():
        parts = [f"{100 * np.mean([what[i] for what in each]):.2f}" for i in (1, 2)]
        rounds_used = f"{min(stops[name])} to {max(stops[name])}" if name in stops else "exact"
        gaps = [paired(percent[name], percent[other]) for other in ("Local", "Pooled") if name != other]
        cells = [f"{gap.mean:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]" for gap in gaps]
        if len(cells) == 1:
            cells.insert(0 if name == "Local" else 1, "")
        print(f"| {name} | {' | '.join([*parts, rounds_used, *cells])} |")
    print(f"\n{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    typer.run(main)
