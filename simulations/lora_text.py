"""LoRA on the text encoder that comes with fedmtl: fourteen products adapt it by half a percent of its numbers.

    python simulations/lora_text.py --seeds 3 --out runs/lora

Full fine-tuning sends the whole trunk, 1.1 million numbers, of which most embed words. LoRA sends the factors of the
matrices of its two layers, and the five ways to aggregate them send unlike parts of these. ``frozen`` trains heads
alone. Runs that are finished in the folder are not run again; ``lora_text.md`` has figures.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from fedmtl import AdamW, Experiment, FedPer, Local, LoRA, ProductReviews, TextEncoder, run
from fedmtl.algorithms import FedSALoRA, FFALoRA, FlexLoRA, FLoRA
from fedmtl.analysis.report.style import COLUMN, files_of, style
from fedmtl.core.markdown import table

WAYS = {"LoRA": FedPer, "FFALoRA": FFALoRA, "FedSALoRA": FedSALoRA, "FlexLoRA": FlexLoRA, "FLoRA": FLoRA}


def method(name: str, rank: int, lr: float, full_lr: float) -> tuple[Any, Any]:
    """The model and the algorithm of a row of the table."""
    if name == "full":
        return TextEncoder(), FedPer(full_lr, 1, AdamW())
    if name == "frozen":
        return TextEncoder(freeze=("*",)), Local(lr, 1, AdamW())
    return LoRA(TextEncoder(), rank, ("qkv", "out", "up", "down")), WAYS[name](lr, 1, AdamW())


def main(
    methods: Annotated[str, typer.Option(help="Methods to run.")] = "full frozen " + " ".join(WAYS),
    rank: Annotated[int, typer.Option(help="Rank of the factors.")] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds of one pass each.")] = 4,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0; each is another split.")] = 3,
    lr: Annotated[float, typer.Option(help="Learning rate of factors.")] = 0.01,
    full_lr: Annotated[float, typer.Option(help="Learning rate of full fine-tuning.")] = 0.001,
    length: Annotated[int, typer.Option(help="Words that are read of a sentence or a review.")] = 32,
    out: Annotated[Path, typer.Option(help="Folder for runs and the figure.")] = Path("runs/lora"),
) -> None:
    data, rows, points = ProductReviews(vocabulary=16384, length=length), [], dict[str, tuple[float, Any]]()
    for name in methods.split():
        model, algorithm = method(name, rank, lr, full_lr)
        own: Any = {"batch_size": 32, "evaluate_every": rounds, "runtime": "InProcess"}
        found = []
        for seed in range(seeds):
            chosen = Experiment(f"lora-{name}", data, model, algorithm, rounds=rounds, seed=seed, **own)
            found.append(run(chosen, out / f"{name}-{rank}" / f"seed{seed}", resume=True).summary)
        scores = np.array([[*(task["value"] for task in one["tasks"].values()), one["mean_score"]] for one in found])
        sent = found[0]["bytes"]["train"]["total"] / rounds / len(data.load(0).clients)
        points[name] = sent, scores[:, -1]
        share = f"{100 * sent / points['full'][0]:.2f} %" if "full" in points else ""
        cells = [f"{mean:.3f} ± {std:.3f}" for mean, std in zip(scores.mean(0), scores.std(0), strict=True)]
        rows.append([name, *cells, f"{sent:,.0f}", share])
        print(*rows[-1], flush=True)
    tasks = [f"{task}, accuracy" for task in data.load(0).tasks]
    print(table(["method", *tasks, "mean", "bytes a client and round", "of full"], rows))
    with style():
        figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
        axes = figure.add_subplot(xlabel="bytes a client and round", ylabel="mean score", xscale="symlog")
        for name, (sent, scores) in points.items():
            axes.errorbar([sent], [scores.mean()], [scores.std()], marker="o", label=name)
        axes.legend()
    (out / "lora_text.png").write_bytes(files_of(figure)["png"])


if __name__ == "__main__":
    typer.run(main)
