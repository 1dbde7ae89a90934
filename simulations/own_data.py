"""Your own arrays: twenty clinics that measure the same things. Does sharing a trunk pay, and what does it cost?

    python simulations/own_data.py --rounds 30

Copy this file and put your own arrays in the place of ``clinics``.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fedmtl import MLP, Experiment, FedPer, Local, compare, from_arrays, run_script


def clinics(number: int, patients: int, seed: int) -> dict[int, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Clinic -> measurements [N, 20], and labels [N] for each task that the clinic owns.

    The same three combinations of the twenty measurements matter everywhere, but what follows from them is each
    clinic's own. All say who is sick, every other one also for how many days.
    """
    draw = np.random.default_rng(seed)
    combinations = draw.standard_normal((20, 3)) / np.sqrt(20)
    clients = {}
    for clinic in range(number):
        x = draw.standard_normal((patients, 20))
        sick, days = (x @ combinations @ draw.standard_normal((3, 2))).T
        y = {"sick": (sick > 0).astype(int)}  # nothing but 0 and 1: Binary
        if clinic % 2:
            y["days"] = 7 + 3 * days  # numbers: Regression
        clients[clinic] = (x, y)
    return clients


def main(
    number: Annotated[int, typer.Option(help="How many clinics.")] = 20,
    patients: Annotated[int, typer.Option(help="Patients of a clinic; a third of them are tested on.")] = 45,
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 30,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.1,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 3,
    runtime: Annotated[str, typer.Option(help="Ray for worker processes, InProcess for this process.")] = "InProcess",
    out: Annotated[Path, typer.Option(help="Folder for runs, tables and pictures.")] = Path("runs/clinics"),
) -> None:
    data = from_arrays(clinics(number, patients, seed=0), test_fraction=1 / 3)
    experiments = [
        Experiment(
            name="clinics",
            data=data,
            model=MLP(hidden=(16,)),
            algorithm=algorithm,
            rounds=rounds,
            seed=seed,
            runtime=runtime,
        )
        for algorithm in (Local(lr=lr), FedPer(lr=lr))
        for seed in range(seeds)
    ]
    found = compare(experiments, out)
    print(f"{found.text}\nfigures: {', '.join(str(picture.path) for picture in found.pictures.values())}")


if __name__ == "__main__":
    run_script(main)
