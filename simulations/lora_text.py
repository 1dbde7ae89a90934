"""LoRA on the text encoder that comes with fedmtl: fourteen products adapt it by half a percent of its numbers.

    python simulations/lora_text.py --seeds 3 --out runs/lora

Full fine-tuning sends the trunk, 1.1 million numbers, most of which embed words. LoRA sends the factors of the matrices
of its layers, or what five ways to aggregate send of them. ``LoRA-words`` adapts words, too, by an A that is sent and a
B of each product's own. ``frozen`` trains heads alone. No run is run twice in a folder; ``lora_text.md`` has figures.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from fedmtl import AdamW, Experiment, FedPer, Local, LoRA, ProductReviews, ShareMap, TextEncoder, run, run_script
from fedmtl.algorithms import FedSALoRA, FFALoRA, FlexLoRA, FLoRA
from fedmtl.analysis.report.style import COLUMN, files_of, style
from fedmtl.core.markdown import table

LAYERS = ("qkv", "out", "up", "down")
WAYS: dict[str, Any] = {way.__name__: way for way in (FFALoRA, FedSALoRA, FlexLoRA, FLoRA)}
WAYS = {"LoRA": FedPer, "LoRA-words": FedPer, **WAYS}
RATES = [0.001, 0.003, 0.01, 0.03]  # each method has the one that is best on validation parts of an unreported seed


def method(name: str, rank: int, lr: float) -> dict[str, Any]:
    """The model and the algorithm of a row of the table."""
    words = ShareMap(LoRA(TextEncoder(), rank, ("embed", *LAYERS)), {"trunk.embed.weight_lora_B": "private"})
    models: dict[str, Any] = {"full": TextEncoder(), "frozen": TextEncoder(freeze=("*",)), "LoRA-words": words}
    model = models.get(name, LoRA(TextEncoder(), rank, LAYERS))
    return {"model": model, "algorithm": {"full": FedPer, "frozen": Local, **WAYS}[name](lr, 1, AdamW())}


def trained(experiment: Experiment, out: Path) -> tuple[int, Any]:
    """Bytes of training, and accuracy of polarity, of topic and their mean over all examples, after the last round."""
    result = run(experiment, out / f"{experiment.name}-{experiment.algorithm.lr:g}-seed{experiment.seed}", resume=True)
    wanted = experiment.rounds, "valid" if experiment.valid_fraction else "test", None
    rows = [row for row in result.rows if (row["round"], row["part"], row["client"]) == wanted]
    both = [next(row["value"] for row in rows if row["task"] == task) for task in ("polarity", "topic")]
    return result.summary["bytes"]["train"]["total"], np.array([*both, np.mean(both)])


def main(
    methods: Annotated[str, typer.Option(help="Methods to run.")] = "full frozen " + " ".join(WAYS),
    rank: Annotated[int, typer.Option(help="Rank of the factors.")] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds of one pass each.")] = 4,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0; each is another split.")] = 3,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rates to choose from; may be given often.")] = None,
    length: Annotated[int, typer.Option(help="Words that are read of a sentence or a review.")] = 32,
    out: Annotated[Path, typer.Option(help="Folder for runs and the figure.")] = Path("runs/lora"),
) -> None:
    if unknown := set(methods.split()) - {"full", "frozen", *WAYS}:
        raise typer.BadParameter(f"{min(unknown)} is no method; there are full, frozen, {', '.join(WAYS)}.")
    data, rows, points = ProductReviews(vocabulary=16384, length=length), [], dict[str, tuple[float, Any]]()
    own: Any = {"data": data, "rounds": rounds, "batch_size": 32, "evaluate_every": rounds, "runtime": "InProcess"}
    for name in methods.split():
        each = {k: Experiment(f"{name}-{rank}", **method(name, rank, k), **own) for k in lr or RATES}
        rate = max(each, key=lambda k: trained(replace(each[k], seed=10_007, valid_fraction=0.2), out)[1][-1])
        found = [trained(replace(each[rate], seed=seed), out) for seed in range(seeds)]
        sent, scores = found[0][0] / rounds / len(data.load(0).clients), np.array([of for _, of in found])
        points[name] = sent, scores[:, -1]
        share = f"{100 * sent / points['full'][0]:.2f} %" if "full" in points else ""
        cells = [f"{mean:.3f} ± {std:.3f}" for mean, std in zip(scores.mean(0), scores.std(0), strict=True)]
        rows.append([name, f"{rate:g}", *cells, f"{sent:,.0f}", share])
    print(table(["method", "rate", "polarity", "topic", "mean accuracy", "bytes a client and round", "of full"], rows))
    with style():
        figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
        axes = figure.add_subplot(xlabel="bytes a client and round", ylabel="mean score", xscale="symlog")
        for name, (sent, scores) in points.items():
            axes.errorbar([sent], [scores.mean()], [scores.std()], marker="o", label=name)
        axes.legend()
    (out / "lora_text.png").write_bytes(files_of(figure)["png"])


if __name__ == "__main__":
    run_script(main)
