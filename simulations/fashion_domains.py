"""Fashion in six domains: every client has the same two tasks, but its camera is another one. What should stay private?

python simulations/fashion_domains.py --seeds 3 --out runs/fashion
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.ndimage import gaussian_filter
from torch import nn

from fedmtl import Binary, Experiment, FedAvg, FedBN, FedPer, FromModule, Local, MultiClass, compare, from_arrays
from fedmtl.cli.script import run_script
from fedmtl.data.fashionmnist import ARTICLES, read

DOMAINS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": lambda x: x,
    "negative": lambda x: 1 - x,
    "dark": lambda x: 0.2 * x,
    "blurred": lambda x: gaussian_filter(x, (0, 1.5, 1.5)),
    "turned": lambda x: np.rot90(x, axes=(1, 2)),
    "small": lambda x: np.pad(x[:, ::2, ::2], ((0, 0), (7, 7), (7, 7))),
}
METHODS = (Local(epochs=1), FedAvg(epochs=1), FedPer(epochs=1), FedBN(epochs=1))
RATES = [0.03, 0.1, 0.3]  # each method has the one that is best on validation parts


def cameras(each: int, images: int) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Client -> images [N, 1, 28, 28] as its domain shows them, and the labels of two tasks; no image is used twice."""
    x, y = (np.concatenate(parts) for parts in zip(*read(full=False), strict=True))
    rows = iter(np.random.default_rng(0).permutation(len(y))[: len(DOMAINS) * each * images].reshape(-1, images))
    clients = {}
    for domain, change in DOMAINS.items():
        for camera in range(each):
            own = next(rows)
            shoes = np.isin(y[own], [ARTICLES.index(name) for name in ("Sandal", "Sneaker", "Ankle boot")])
            clients[f"{domain} {camera + 1}"] = change(x[own] / 255)[:, None], {"article": y[own], "shoe": shoes}
    return clients


def network() -> nn.Module:
    """Two blocks of convolution and BatchNorm; each task gets a linear layer in the place of the last one."""
    first = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(16 * 7 * 7, 10))


def main(
    each: Annotated[int, typer.Option(help="Clients of each domain.")] = 2,
    images: Annotated[int, typer.Option(help="Images of a client; a quarter of them are tested on.")] = 160,
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 40,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 3,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rates to choose from; may be given often.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for runs, tables and pictures.")] = Path("runs/fashion"),
) -> None:
    data = from_arrays(cameras(each, images), {"article": MultiClass(10, ARTICLES), "shoe": Binary()}, 0.25)
    experiments = [
        Experiment(
            name="fashion",
            data=data,
            model=FromModule(network, heads="9"),
            algorithm=algorithm,
            rounds=rounds,
            evaluate_every=max(rounds // 10, 1),
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
