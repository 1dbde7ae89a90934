"""The clients' examples: drawn once, kept on disk, and mapped by every process of every system."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fedmtl.bench.workloads import Workload
from fedmtl.core.random import SERVER, rng
from fedmtl.data.base import Federation
from fedmtl.data.joined import JoinedRows, joined
from fedmtl.tasks.multiclass import MultiClass

TASK = "label"
TESTED = 100
"""Clients with test examples, the first ones: enough to see that models improve, at no cost for a round."""
TEST_EXAMPLES = 32
_CHUNK = 1_000


def write_data(workload: Workload, folder: Path) -> None:
    """Draw all clients' examples into a folder.

    With class means M [classes, …], client c's shift s_c, and a class k drawn evenly for each example:

        x = spread (2 M_k + ε),  M ~ N(0, I),  ε ~ N(0, I)                                             (1)
        y = (k + s_c) mod classes,  s_c uniform in {0, 1}      the same inputs mean another class      (2)

    so that the trunk has something to learn from all, and a head something of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = rng(workload.seed, 0, SERVER, "bench")
    means = draw.standard_normal((workload.classes, *workload.input_shape), np.float32)
    shifts = draw.integers(0, 2, workload.clients)
    for part, clients, examples in (
        ("train", workload.clients, workload.examples),
        ("test", min(TESTED, workload.clients), TEST_EXAMPLES),
    ):
        x = open_memmap(folder / f"{part}_x.npy", "w+", np.float32, (clients, examples, *workload.input_shape))
        kinds = draw.integers(0, workload.classes, (clients, examples))
        for start in range(0, clients, _CHUNK):
            rows = slice(start, start + _CHUNK)
            noise = draw.standard_normal(x[rows].shape, np.float32)
            x[rows] = workload.spread * (2 * means[kinds[rows]] + noise)  # (1)
        x.flush()
        labels = (kinds + shifts[:clients, None]) % workload.classes  # (2)
        np.save(folder / f"{part}_y.npy", labels.astype(np.float32))
    (folder / "workload.json").write_text(json.dumps(asdict(workload)))


def read_workload(folder: Path) -> Workload:
    """The workload whose data a folder holds.

    Raises:
        OSError: a folder that ``write_data`` did not write.
    """
    return Workload(**json.loads((folder / "workload.json").read_text()))


def read_part(folder: Path, part: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs [clients, examples, …] and labels [clients, examples] of "train" or "test".

    Mapped, so that processes share the pages; writable, because torch asks for that, but nothing is written back.
    """
    x, y = (np.load(folder / f"{part}_{name}.npy", mmap_mode="c") for name in ("x", "y"))
    return x.view(np.ndarray), y.view(np.ndarray)


@dataclass(frozen=True)
class Stored:
    """The data of a folder as a federation; clients are parts of its arrays."""

    folder: str

    def load(self, seed: int) -> Federation:
        return self._federation(None)

    def sample(self) -> Federation:
        """The first client alone: enough for who only wants to know tasks and shapes."""
        return self._federation(1)

    def _federation(self, clients: int | None) -> Federation:
        workload = read_workload(Path(self.folder))
        train_x, train_y = read_part(Path(self.folder), "train")
        test_x, test_y = read_part(Path(self.folder), "test")
        ids = np.arange(clients or len(train_x))
        table = (TASK,), ids, _rows(train_x, train_y, len(ids)), _rows(test_x, test_y, len(ids))
        return Federation({TASK: MultiClass(workload.classes)}, workload.input_shape, joined([table]))


def _rows(x: NDArray[np.float32], y: NDArray[np.float32], clients: int) -> JoinedRows:
    """The examples of the first clients, in place; clients beyond those of the arrays have none."""
    held = np.arange(clients) < len(x)
    examples = x.shape[1]
    start = np.where(held, np.arange(clients) * examples, 0)
    return JoinedRows(x.reshape(-1, *x.shape[2:]), {TASK: y.reshape(-1)}, start, np.where(held, examples, 0))
