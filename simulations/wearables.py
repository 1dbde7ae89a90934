"""Wearables: thirty people, a phone at the waist. Whose model knows what they do, and what does a new person need?

    python simulations/wearables.py --seeds 3

A seed is a split by recording: whole bouts are tested on, and others choose each method's rate, of one grid. Nine
people are then new: a run on the other 21 serves them, and each labels 5 or 20 windows of an activity, or all.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from fedmtl import HAR, MLP, MRMTL, Ditto, Experiment, FedAvg, FedPer, FedRep, Local, VMap, Without, onboard, run
from fedmtl.analysis.report.style import COLUMN, files_of, style
from fedmtl.core.diverged import Diverged
from fedmtl.core.markdown import table

NEW = tuple(f"person {number}" for number in (2, 4, 9, 10, 12, 13, 18, 20, 24))  # on which the set's authors test
METHODS = {
    **{method.__name__: partial(method, epochs=2) for method in (Local, FedAvg, FedPer)},
    "FedRep": partial(FedRep, head_epochs=1, trunk_epochs=1),
    "MRMTL": partial(MRMTL, epochs=2, lam=0.1),
    "Ditto": partial(Ditto, epochs=1, personal_epochs=2, lam=0.1),
}


def trained(algorithm: Any, data: Any, rounds: int, seed: int) -> tuple[float, Any]:
    """The mean accuracy over people of the last model, and the result of the run; 0 and None where it diverged."""
    given: dict[str, Any] = {"rounds": rounds, "evaluate_every": rounds, "seed": seed, "runtime": "InProcess"}
    try:
        result = run(Experiment(data=data, model=MLP((64,)), algorithm=algorithm, engine=VMap(chunk=30), **given))
    except Diverged:
        return 0.0, None
    rows = [row["value"] for row in result.rows if row["round"] == rounds and row["client"] is not None]
    return float(np.nan_to_num(np.array(rows, float)).mean()), result


def main(
    seeds: Annotated[int, typer.Option(help="How many splits, from seed 0.")] = 3,
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 30,
    steps: Annotated[int, typer.Option(help="Steps on the heads of new people; half of them fine-tune.")] = 200,
    methods: Annotated[str, typer.Option(help="Methods to run.")] = " ".join(METHODS),
    out: Annotated[Path, typer.Option(help="The figure, a .png, .pdf or .svg.")] = Path("wearables.png"),
) -> None:
    scores, sizes = dict[tuple[Any, ...], list[float]](), dict[str, int]()
    for seed in range(seeds):
        for name in methods.split():
            make, tried = METHODS[name], HAR(summaries=True, validation=True)
            lr = max((0.1, 0.3, 0.9), key=lambda lr: trained(make(lr=lr), tried, rounds, seed)[0])
            score, result = trained(make(lr=lr), HAR(summaries=True), rounds, seed)
            scores.setdefault((name,), []).append(score)
            sizes[name] = result.summary["bytes"]["train"]["total"] // 30
            print(f"seed {seed}: {name}, rate {lr}, {score:.4f}", flush=True)
            if name in ("FedPer", "Ditto"):
                _, others = trained(make(lr=lr), Without(HAR(summaries=True), clients=NEW), rounds, seed)
                by: dict[str, Any] = {"head_steps": steps, "fine_tune": steps // 2, "scratch_steps": 3 * steps // 2}
                found = onboard(others, labels=(5, 20, None), **by)
                for labels, way in dict.fromkeys((one.labels, one.way) for one in found.scores):
                    scores.setdefault((name, way, str(labels)), []).append(found.value(labels, way))
    shown = {key: f"{np.mean(of):.3f} ± {np.std(of, ddof=min(1, seeds - 1)):.3f}" for key, of in scores.items()}
    print(table(["method", "30 people", "bytes"], [[*k, shown[k], f"{sizes[k[0]]:,}"] for k in scores if not k[1:]]))
    print(table(["run of", "way", "labels", "9 people"], [[*k, shown[k]] for k in scores if k[1:]], left=(0, 1)))
    with style():
        axes = (figure := Figure((COLUMN, 2.4), layout="constrained")).add_subplot()
        axes.set(xlabel="labelled windows of an activity", ylabel="accuracy, 9 new people")
        for name, way in dict.fromkeys(key[:2] for key in scores if key[2:] == ("all",)):
            values = [scores[name, way, labels] for labels in ("5", "20", "all")]
            axes.errorbar(["5", "20", "all"], np.mean(values, 1), np.std(values, 1), marker="o", label=f"{name}, {way}")
        axes.legend()
    out.write_bytes(files_of(figure)[out.suffix.removeprefix(".")])


if __name__ == "__main__":
    typer.run(main)
