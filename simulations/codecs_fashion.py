"""Codecs in both directions on Fashion-MNIST: a hundred unlike clients, private heads. What do all bytes buy?

    python simulations/codecs_fashion.py --seeds 3 --lr 0.1

The trunk of 51,616 numbers goes up and down through codecs. `codecs_fashion.toml` is the same as a preset.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from torch import nn

from fedmtl import EDEN, STC, Dense, ErrorFeedback, Experiment, FashionMNIST, FedPer, compare
from fedmtl.cli.script import run_script
from fedmtl.core.markdown import table
from fedmtl.runs.labels import describe

PAIRS = (  # up, down
    (Dense(), Dense()),
    (EDEN(bits=1), EDEN(bits=1)),
    (ErrorFeedback(STC(keep=0.05)), STC(keep=0.05)),
    (ErrorFeedback(STC(keep=0.02)), STC(keep=0.02)),
)


@dataclass(frozen=True)
class StridedCNN:
    """For images [1, 28, 28]: two convolutions with a stride of two, and a hidden layer of 64."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        first = nn.Conv2d(input_shape[0], 8, 5, stride=2, padding=2), nn.ReLU()
        second = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()
        return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(16 * 7 * 7, 64), nn.ReLU())

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 60,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.1,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for runs, tables and pictures.")] = Path("runs/codecs-fashion"),
) -> None:
    experiments = [
        Experiment(
            data=FashionMNIST(clients=100, alpha=0.5, test_fraction=0.5),
            model=StridedCNN(),
            algorithm=FedPer(lr=lr, epochs=2),
            up_codec=up,
            down_codec=down,
            rounds=rounds,
            batch_size=16,
            evaluate_every=20,
            runtime="InProcess",
            seed=seed,
        )
        for up, down in PAIRS
        for seed in range(seeds)
    ]
    found = compare(experiments, out, on_event=lambda event: print(event.kind, event.task, flush=True))
    rows, dense = [], 0.0
    for group in sorted(found.groups, key=lambda group: group.codec):  # Dense, which has no word, is first
        pair = [describe(group.runs[0].experiment[way]) for way in ("up_codec", "down_codec")]
        scores = [run.score() for run in group.runs]
        packets = [row for run in group.runs for row in run.transfers if row["purpose"] == "train"]
        sent = [sum(p["packet_bytes"] for p in packets if p["direction"] == way) for way in ("up", "down")]
        dense = dense or sum(sent)
        spread = f"{np.mean(scores):.4f} ± {np.std(scores, ddof=min(1, len(scores) - 1)):.4f}"
        sizes = [f"{size / len(scores) / 1e6:.1f} MB" for size in (*sent, sum(sent))]
        rows.append([*pair, spread, *sizes, f"{dense / sum(sent):.1f}"])
    print(table(["up", "down", f"accuracy after {rounds} rounds", "bytes up", "bytes down", "all", "fewer"], rows))


if __name__ == "__main__":
    run_script(main)
