"""Codecs on digits: twenty unlike clients, four tasks, private heads. How many bytes up does a score cost?

    python simulations/codecs_digits.py --seeds 2

The trunk of 49,600 numbers goes up through each codec, and comes down as it is. Runs that are finished in the folder
are not run again.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fedmtl import EDEN, EF21, MLP, STC, Dense, Digits, ErrorFeedback, Experiment, FedPer, Sign, TopK, compare
from fedmtl.analysis.runs import Run
from fedmtl.core.markdown import table

CODECS = (
    Dense(),
    *(EDEN(bits=bits) for bits in (2, 1)),
    *(memory(STC(keep=0.05)) for memory in (ErrorFeedback, EF21)),
    EF21(TopK(keep=0.05)),
    ErrorFeedback(TopK(keep=0.01)),
    TopK(keep=0.01),
    Sign(),
)


def bytes_up(run: Run, target: float) -> float:
    """Bytes of uploads until the mean score is at the target; NaN where it never is."""
    curve = run.mean_score_curve()
    reached = next((round for round, score in zip(curve.rounds, curve.values, strict=True) if score >= target), None)
    if reached is None:
        return np.nan
    sent = [row for row in run.transfers if (row["direction"], row["purpose"]) == ("up", "train")]
    return sum(row["packet_bytes"] for row in sent if row["round"] <= reached)


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 40,
    clients: Annotated[int, typer.Option(help="How many clients.")] = 20,
    alpha: Annotated[float, typer.Option(help="Dirichlet parameter of the clients' digits: small is unlike.")] = 1.0,
    epochs: Annotated[int, typer.Option(help="Steps of a client in a round, each on all of its examples.")] = 10,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.2,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 2,
    target: Annotated[float, typer.Option(help="Mean score for which to count the bytes that it took.")] = 0.84,
    out: Annotated[Path, typer.Option(help="Folder for runs, tables and pictures.")] = Path("runs/codecs-digits"),
) -> None:
    experiments = [
        Experiment(
            data=Digits(clients=clients, alpha=alpha, test_fraction=0.5, tasks_per_client=4),
            model=MLP(hidden=(384, 64)),
            algorithm=FedPer(lr=lr, epochs=epochs),
            up_codec=codec,
            rounds=rounds,
            batch_size=0,
            evaluate_every=2,
            runtime="InProcess",
            seed=seed,
        )
        for codec in CODECS
        for seed in range(seeds)
    ]
    found = compare(experiments, out, target=target, on_event=lambda event: print(event.kind, event.task, flush=True))
    rows, dense = [], np.nan
    for group in found.groups:
        scores, needed = [run.score() for run in group.runs], [bytes_up(run, target) for run in group.runs]
        reached, mean = int(np.isfinite(needed).sum()), float(np.mean(needed))
        dense = dense if group.codec else mean
        spread = f"{np.mean(scores):.3f} ± {np.std(scores, ddof=min(1, len(scores) - 1)):.3f}"
        cost = ["–", "–"] if np.isnan(mean) else [f"{mean / 1e6:.2f} MB", f"{dense / mean:.1f}"]
        rows.append([group.codec or "Dense", spread, f"{reached}/{len(needed)}", *cost])
    print(table(["up", f"score after {rounds} rounds", f"reached {target:g}", "bytes up until then", "fewer"], rows))
    print(f"figures: {', '.join(str(picture.path) for picture in found.pictures.values())}")


if __name__ == "__main__":
    typer.run(main)
