"""Landmine: does relating 29 fields find more mines than every field for itself, and than one model for all?

    python simulations/reproduce/landmine.py --splits 6

Xue, Liao, Carin, Krishnapuram. Multi-task learning for classification with Dirichlet process priors. JMLR 8, 2007: few
labelled signatures of each field (20, 40, …), the area under each field's curve on others, its mean over the fields.
Here it is a curve over 20, 40, 80 and 160 labels, fixed beforehand. All models are linear with an intercept, logistic
but for MOCHA's hinge, and trained by fedmtl's run path, with whole batches.

Every field is divided once into a half for tuning and a half for results. In the first, every method is tuned for each
number of labels on a grid of 25 settings (``tune.py``): it learns from that number of signatures and is validated on
the rest. The choice, setting and round, is then trained on the same number of signatures of the other half and tested
once, on each split.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from loaders import Landmine, once
from summary import Row, paired, table
from tune import Axis, Choice, Method, by_client, check_equal, choices_table, choose, run_to_the_end, steps, thinned

from fedmtl import Experiment, FedAvg, Local, Pooled
from fedmtl.algorithms import MRMTL, Ditto, FedU, Mocha
from fedmtl.models import Linear

FIELDS = 29
FOLIATED = range(15)
BARE = range(15, FIELDS)
LABELS = (20, 40, 80, 160)
EPOCHS = 10
"""Steps of a round."""
MEASURED = 10
"""Measurements of a run."""
TUNED_ON = 1000
"""The seed of the first draw that settings are chosen on."""

RATES = Axis("lr", steps(0.005, 1.35, 25))
FEW_RATES = Axis("lr", steps(0.05, 3, 5))
STRENGTHS = Axis("lam", steps(0.01, 6.3, 5))
GROUND = tuple(f"{k}-{other}" for part in (FOLIATED, BARE) for k in part for other in part if k < other)
"""Edges between all fields on the same ground."""

METHODS: tuple[Method, ...] = (
    Method("Local", lambda lr: Local(lr=lr, epochs=EPOCHS), (RATES,)),
    Method("Pooled", lambda lr: Pooled(lr=lr, epochs=EPOCHS), (RATES,)),
    Method("FedAvg", lambda lr: FedAvg(lr=lr, epochs=EPOCHS), (RATES,)),
    Method("MR-MTL", lambda lr, lam: MRMTL(lr=lr, epochs=EPOCHS, lam=lam), (FEW_RATES, STRENGTHS)),
    Method(
        "Ditto",
        lambda lr, lam: Ditto(lr=lr, epochs=EPOCHS, personal_epochs=EPOCHS, lam=lam),
        (FEW_RATES, STRENGTHS),
    ),
    Method(  # with β = λ / m for m clients that pull each other, λ means what MR-MTL's does
        "FedU, same ground",
        lambda lr, lam: FedU(lr=lr, epochs=EPOCHS, beta=lam / 15, edges=GROUND),
        (FEW_RATES, STRENGTHS),
    ),
    Method(  # κ = 0 is the paper's
        "MOCHA",
        lambda lam, floor: Mocha(lam=lam, floor=floor),
        (Axis("lam", steps(0.0001, 10, 5)), Axis("floor", (0.0, 0.02, 0.05, 0.2, 0.5), bounds=(0.0,))),
    ),
)
BASELINES = ("Local", "Pooled")
MOCHA_ROUNDS = 100
"""One pass each; the other methods take ten steps a round."""


def measure(algorithm: Any, data: Landmine, seed: int, rounds: int) -> dict[str, float]:
    """Mean over the fields of the area under the curve, after each measured round; empty where training diverged."""
    result = run_to_the_end(
        Experiment(
            name="landmine",
            data=data,
            model=Linear(intercept=False),  # the data have a column of ones
            algorithm=algorithm,
            rounds=rounds,
            evaluate_every=max(rounds // MEASURED, 1),
            batch_size=0,
            seed=seed,
            runtime="InProcess",
        )
    )
    if result is None:
        return {}
    return {round: float(np.mean(list(areas.values()))) for round, areas in by_client(result).items()}


def tuned(method: Method, labels: int, pilots: int, rounds: int, kept: Path | None) -> Choice:
    """The setting and round that are best in the half for tuning."""
    data = Landmine(labels, "tuning")

    def curves(algorithm: Any) -> list[dict[int, float]]:
        found = [once(kept, measure, algorithm, data, TUNED_ON + pilot, rounds) for pilot in range(pilots)]
        return [{int(round): area for round, area in curve.items()} for curve in found]

    return choose(method, curves)


def against(found: Mapping[str, Sequence[float]]) -> str:
    """Markdown: what each method has over each baseline, over the same splits."""
    lines = [f"| method | {' | '.join(f'− {name}' for name in BASELINES)} | |", "|---" * (len(BASELINES) + 2) + "|"]
    for name, areas in found.items():
        if name not in BASELINES:
            gaps = [paired(areas, found[baseline]) for baseline in BASELINES]
            cells = " | ".join(f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]" for gap in gaps)
            lines.append(f"| {name} | {cells} | {'beats both' if all(gap.low > 0 for gap in gaps) else ''} |")
    return "\n".join(lines)


def main(
    splits: Annotated[int, typer.Option(help="Random draws of the labels, from seed 0.", min=2)] = 6,
    labels: Annotated[list[int] | None, typer.Option(help="Signatures of each field; default 20, 40, 80, 160.")] = None,
    pilots: Annotated[int, typer.Option(help="Draws of the half for tuning, from seed 1000.", min=1)] = 1,
    rounds: Annotated[
        int, typer.Option(help=f"Rounds of {EPOCHS} steps, at most; MOCHA's are passes, {MOCHA_ROUNDS}.", min=1)
    ] = 30,
    only: Annotated[list[str] | None, typer.Option(help="Methods whose names begin so; Local and Pooled too.")] = None,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[bool, typer.Option(help="40 labels, 2 splits of 2 rounds, two settings, to see it run.")] = False,
) -> None:
    if quick:
        splits, rounds, labels = 2, 2, [40]
    start = time.process_time()
    check_equal(METHODS)
    grids = thinned(METHODS) if quick else METHODS
    methods = [m for m in grids if m.name in BASELINES or not only or m.name.startswith(tuple(only))]
    for count in labels or LABELS:
        choices, found = {}, {}
        for method in methods:
            passes = MOCHA_ROUNDS if method.name == "MOCHA" and not quick else rounds
            choice = choices[method.name] = tuned(method, count, pilots, passes, kept)
            algorithm, data = method.make(**choice.setting), Landmine(count, "results")
            curves = [once(kept, measure, algorithm, data, split, passes) for split in range(splits)]
            found[method.name] = [curve[str(choice.round)] for curve in curves]
        print(f"### {count} labels a field\n\n{choices_table(choices)}\n")
        print(table(f"mean AUC, {splits} splits", [Row(name, areas) for name, areas in found.items()]))
        print(f"\n{against(found)}\n", flush=True)
    print(f"{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    typer.run(main)
