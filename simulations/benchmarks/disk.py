"""A federation of a stated multiple of a limit of memory, trained with its inputs on disk, and in memory beside.

    python simulations/benchmarks/disk.py --limit 128 --times 4

Memory is what the process holds at the peak of making the data set and training on it, above what it held after a run
on a handful of examples: all of it, anonymous and mapped (VmHWM of Linux). Writing the files is not counted.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedmtl import MLP, Experiment, from_arrays, run

FEATURES = 1024
CLIENTS = 4


def held(line: str = "VmRSS") -> int:
    """Bytes of this process, now or at the peak ("VmHWM")."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(each.split()[1]) for each in lines if each.startswith(line))


def train(clients: Mapping[int, Any]) -> None:
    """One round on all clients, with a run folder's checks of the data."""
    with tempfile.TemporaryDirectory(prefix="fedmtl-disk-") as folder:
        experiment = Experiment(
            name="disk", data=from_arrays(clients), model=MLP((16,)), rounds=1, batch_size=64, runtime="InProcess",
            algorithm="FedPer(epochs=1)",
        )  # fmt: skip
        run(experiment, f"{folder}/run")


def written(folder: Path, examples: int) -> dict[int, tuple[Path, dict[str, Any]]]:
    """Write each client's inputs, a few at a time, and return their paths with labels that follow from them."""
    draw, clients = np.random.default_rng(0), {}
    for client in range(CLIENTS):
        path, labels = folder / f"{client}.npy", np.zeros(examples, np.int64)
        array = np.lib.format.open_memmap(path, "w+", np.float32, (examples, FEATURES))
        for start in range(0, examples, 1024):
            some = draw.standard_normal((min(1024, examples - start), FEATURES), np.float32)
            array[start : start + 1024], labels[start : start + 1024] = some, some[:, :8].sum(1) > 0
        array.flush()
        clients[client] = path, {"sign": labels}
    return clients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=128, help="megabytes of memory")
    parser.add_argument("--times", type=float, default=4, help="size of all inputs, in limits")
    parser.add_argument("--memory", action="store_true", help="train with inputs in memory, too, at the end")
    args = parser.parse_args()
    examples = int(args.limit * args.times * 2**20 / (4 * FEATURES * CLIENTS))
    few = np.random.default_rng(0).standard_normal((32, FEATURES), np.float32)
    train({client: (few, {"sign": np.arange(32) % 2}) for client in range(CLIENTS)})
    with tempfile.TemporaryDirectory(prefix="fedmtl-disk-") as folder:
        stored = written(Path(folder), examples)
        for place in ("disk", "memory") if args.memory else ("disk",):
            before, start = held(), time.perf_counter()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            train(stored if place == "disk" else {k: (np.load(x), y) for k, (x, y) in stored.items()})
            peak, seconds = (held("VmHWM") - before) / 2**20, time.perf_counter() - start
            size = CLIENTS * examples * FEATURES * 4 / 2**20
            word = "within" if peak <= args.limit else "beyond"
            print(
                f"{place}: {size:,.0f} MB of inputs, {peak:,.0f} MB at the peak, {word} {args.limit:g}, {seconds:.1f} s"
            )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
