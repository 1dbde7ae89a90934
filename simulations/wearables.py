"""Wearables: thirty people, a phone at the waist. Whose model knows what they do, and what does a new person need?

    python simulations/wearables.py --seeds 5

A seed is a split by recording: whole bouts are tested on, and others choose each method's rate, of one grid. Nine
people are then new: a run on the other 21 serves them, and each labels 5 or 20 windows of an activity, or all.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from fedmtl import HAR, MLP, MRMTL, Ditto, Experiment, FedAvg, FedPer, FedRep, Local, VMap, Without, onboard, run
from fedmtl.analysis.report.style import COLUMN, files_of, style
from fedmtl.cli.script import run_script
from fedmtl.core.diverged import Diverged
from fedmtl.core.markdown import table

NEW = tuple(f"person {number}" for number in (2, 4, 9, 10, 12, 13, 18, 20, 24))  # on which the set's authors test
OTHERS = [FedRep(head_epochs=1, trunk_epochs=1), MRMTL(epochs=2, lam=0.1), Ditto(epochs=1, personal_epochs=2, lam=0.1)]
ALL: list[Any] = [Local(epochs=2), FedAvg(epochs=2), FedPer(epochs=2), *OTHERS]
METHODS, RATES = {type(method).__name__: method for method in ALL}, (0.1, 0.3, 0.9)


def trained(algorithm: Any, data: Any, rounds: int, seed: int, out: Path) -> tuple[float, Any]:
    """The mean accuracy over people of the last model, and the result of the run; 0 and None where it diverged."""
    own: dict[str, Any] = {"model": MLP((64,)), "engine": VMap(chunk=30), "runtime": "InProcess"}
    given = Experiment("har", data, algorithm=algorithm, rounds=rounds, evaluate_every=rounds, seed=seed, **own)
    try:
        result = run(given, out, resume=True)
    except Diverged:
        return 0.0, None
    return float(np.mean([row["value"] for row in result.rows if row["round"] and row["client"] is not None])), result


def main(
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0; each is another split.")] = 5,
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 30,
    steps: Annotated[int, typer.Option(help="Steps on the heads of new people; half of them fine-tune.")] = 200,
    methods: Annotated[str, typer.Option(help="Methods to run.")] = " ".join(METHODS),
    out: Annotated[Path, typer.Option(help="Folder for runs and the figure.")] = Path("runs/wearables"),
) -> None:
    if unknown := set(methods.split()) - set(METHODS):
        raise typer.BadParameter(f"{min(unknown)} is no method; there are {', '.join(METHODS)}.")
    scores, sizes = dict[tuple[Any, ...], list[float]](), dict[str, int]()
    for seed in range(seeds):
        for name in methods.split():
            one, place, data = METHODS[name], out / name / f"seed{seed}", HAR(summaries=True)
            each, tried = {lr: replace(one, lr=lr) for lr in RATES}, replace(data, validation=True)
            lr = max(RATES, key=lambda lr: trained(each[lr], tried, rounds, seed, place / f"rate{lr}")[0])
            score, result = trained(each[lr], data, rounds, seed, place / "test")
            scores.setdefault((name,), []).append(score)
            sizes[name] = result.summary["bytes"]["train"]["total"] // 30
            print(f"seed {seed}: {name}, rate {lr}, {score:.4f}", flush=True)
            if name in ("FedPer", "Ditto"):
                _, others = trained(each[lr], Without(data, NEW), rounds, seed, place / "others")
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
    (out / "wearables.png").write_bytes(files_of(figure)["png"])


if __name__ == "__main__":
    run_script(main)
