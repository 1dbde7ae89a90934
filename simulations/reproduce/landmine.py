"""Landmine: does relating 29 fields find more mines than every field for itself, and than one model for all?

    python simulations/reproduce/landmine.py --splits 10

Xue, Liao, Carin, Krishnapuram. Multi-task learning for classification with Dirichlet process priors. JMLR 8, 2007: few
labelled signatures of each field (20, 40, …), the area under each field's curve on all others, and its mean over the
fields. Here all models are linear with an intercept, logistic but for MOCHA's hinge, and trained by fedmtl's run path,
with whole batches.

Nothing is chosen with a look at the test part, but in favour of the two baselines: Local and Pooled may stop, on each
split, after whichever of the measured rounds tests best. All others train for all rounds, with every strength shown.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from loaders import Landmine, once
from summary import Row, paired, table

from fedmtl import Experiment, FedAvg, Local, Pooled, run
from fedmtl.algorithms import MRMTL, Ditto, FedProx, FedU, Mocha
from fedmtl.models import Linear

FIELDS = 29
FOLIATED = range(15)
BARE = range(15, FIELDS)
LR, EPOCHS = 0.25, 10


@dataclass(frozen=True)
class Method:
    """An algorithm, and whether it is a baseline, which may stop when it is best."""

    name: str
    algorithm: Any
    baseline: bool = False


def methods() -> list[Method]:
    """FedU's β is λ / m for m clients that pull each other, so that its λ means what MR-MTL's does."""
    same = {"lr": LR, "epochs": EPOCHS}
    ground = tuple(f"{k}-{other}" for part in (FOLIATED, BARE) for k in part for other in part if k < other)
    return [
        Method("Local", Local(**same), baseline=True),
        Method("Pooled", Pooled(**same), baseline=True),
        Method("FedAvg", FedAvg(**same)),
        Method("FedProx, μ 1", FedProx(**same, mu=1.0)),
        *[Method(f"MR-MTL, λ {lam}", MRMTL(**same, lam=lam)) for lam in (0.1, 0.3, 1.0)],
        Method("Ditto, λ 0.3", Ditto(**same, personal_epochs=EPOCHS, lam=0.3)),
        Method("FedU, all, λ 0.1", FedU(**same, beta=0.1 / FIELDS)),
        *[Method(f"FedU, same ground, λ {lam}", FedU(**same, beta=lam / 15, edges=ground)) for lam in (0.1, 0.3)],
        *[Method(f"MOCHA, λ {lam}", Mocha(lam=lam)) for lam in (0.01, 1.0)],
        Method("MOCHA, Σ held at I / 29, λ 0.0001", Mocha(lam=0.0001, sigma_every=10**6)),
    ]


def measure(method: Method, per_task: int, split: int, rounds: int) -> float:
    """Mean over the fields of the area under the curve."""
    every = max(rounds // 6, 1)
    result = run(
        Experiment(
            name=method.name,
            data=Landmine(per_task),
            model=Linear(intercept=False),  # the data have a column of ones
            algorithm=method.algorithm,
            rounds=rounds,
            evaluate_every=every,
            batch_size=0,
            seed=split,
            runtime="local",
        )
    )
    curve: dict[int, list[float]] = {}
    for row in result.rows:
        if row["client"] is not None:
            curve.setdefault(row["round"], []).append(row["value"])
    means = {round: float(np.mean(areas)) for round, areas in curve.items()}
    return max(means.values()) if method.baseline else means[rounds]


def against(found: dict[str, list[float]], baselines: list[str]) -> str:
    """Markdown: what each method has over each baseline, over the same splits."""
    lines = [f"| method | {' | '.join(f'− {name}' for name in baselines)} | |", "|---" * (len(baselines) + 2) + "|"]
    for name, areas in found.items():
        if name not in baselines:
            gaps = [paired(areas, found[baseline]) for baseline in baselines]
            cells = " | ".join(f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]" for gap in gaps)
            lines.append(f"| {name} | {cells} | {'beats both' if all(gap.low > 0 for gap in gaps) else ''} |")
    return "\n".join(lines)


def main(
    splits: Annotated[int, typer.Option(help="Random splits, from seed 0.", min=2)] = 10,
    per_task: Annotated[int, typer.Option(help="Signatures of each field that are learnt from.")] = 80,
    rounds: Annotated[int, typer.Option(help=f"Rounds of {EPOCHS} steps.", min=1)] = 30,
    only: Annotated[list[str] | None, typer.Option(help="Methods whose names begin so; Local and Pooled too.")] = None,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[bool, typer.Option(help="2 splits of 6 rounds, to see it run.")] = False,
) -> None:
    if quick:
        splits, rounds = 2, 6
    start = time.process_time()
    chosen = [m for m in methods() if m.baseline or not only or m.name.startswith(tuple(only))]
    found = {m.name: [once(kept, measure, m, per_task, split, rounds) for split in range(splits)] for m in chosen}
    tested = f"mean AUC, {per_task} a field, {splits} splits"
    print(table(tested, [Row(name, areas) for name, areas in found.items()]))
    print(f"\n{against(found, [m.name for m in chosen if m.baseline])}\n")
    print(f"{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    typer.run(main)
