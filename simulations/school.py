"""School: examination scores of 139 schools, a small linear problem each. How much do they gain from one another?

python simulations/school.py --seeds 3 --out runs/school
"""

from pathlib import Path
from typing import Annotated

import typer

from fedmtl import MRMTL, Ditto, Experiment, FedAvg, Linear, Local, School, compare, run_script

RATES = [0.001, 0.003, 0.01]  # each method has the one that is best on validation parts; some schools diverge by 0.0128


def main(
    strength: Annotated[float, typer.Option(help="Pull between schools: λ of MR-MTL and Ditto.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 25,
    epochs: Annotated[int, typer.Option(help="Steps of a round, each over all pupils of a school.")] = 10,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0; each is another split of the pupils.")] = 3,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rates to choose from; may be given often.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for runs, tables and pictures.")] = Path("runs/school"),
) -> None:
    methods = (
        Local(epochs=epochs),
        FedAvg(epochs=epochs),
        MRMTL(epochs=epochs, lam=strength),
        Ditto(epochs=epochs, personal_epochs=epochs, lam=strength),
    )
    experiments = [
        Experiment(
            name="school",
            data=School(),
            model=Linear(),
            algorithm=algorithm,
            rounds=rounds,
            batch_size=0,
            evaluate_every=max(rounds // 12, 1),
            seed=seed,
            runtime="InProcess",
        )
        for algorithm in methods
        for seed in range(seeds)
    ]
    found = compare(experiments, out, grid={"algorithm.lr": lr or RATES})
    print(f"{found.text}\nfigures: {', '.join(str(picture.path) for picture in found.pictures.values())}")


if __name__ == "__main__":
    run_script(main)
