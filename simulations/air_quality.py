"""Air quality: twelve stations of Beijing predict six pollutants hours ahead. Should they share what they learn?

python simulations/air_quality.py --seeds 3 --out runs/air
"""

from pathlib import Path
from typing import Annotated

import typer

from fedmtl import MLP, BeijingAir, Ditto, Experiment, FedAvg, FedPer, Local, compare, run_script

METHODS = (Local(epochs=1), FedAvg(epochs=1), FedPer(epochs=1), Ditto(epochs=1, personal_epochs=1))
RATES = [0.03, 0.1, 0.3]  # each method has the one that is best on validation parts


def main(
    ahead: Annotated[int, typer.Option(help="Hours from inputs to labels.")] = 6,
    step: Annotated[int, typer.Option(help="Hours from one example to the next; more is less to learn from.")] = 35,
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 60,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 3,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rates to choose from; may be given often.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for runs, tables and pictures.")] = Path("runs/air"),
) -> None:
    experiments = [
        Experiment(
            name="air",
            data=BeijingAir(ahead=ahead, step=step),
            model=MLP((64,)),
            algorithm=algorithm,
            rounds=rounds,
            batch_size=32,
            evaluate_every=max(rounds // 15, 1),
            seed=seed,
            runtime="InProcess",
        )
        for algorithm in METHODS
        for seed in range(seeds)
    ]
    found = compare(experiments, out, grid={"algorithm.lr": lr or RATES})
    print(f"{found.text}\nfigures: {', '.join(str(picture.path) for picture in found.pictures.values())}")


if __name__ == "__main__":
    run_script(main)
