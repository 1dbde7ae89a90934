"""A batch size that no client fills is one batch of all that it has: the same bits, and no memory of the size's own."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from fedmtl.algorithms import FedAvg, Pooled
from fedmtl.data import from_arrays
from fedmtl.models import MLP
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment

DRAW = np.random.default_rng(0)
SIZES = (12, 9, 5, 12)
DATA = from_arrays(
    {k: {part: (DRAW.standard_normal((n, 4)), {"a": np.arange(n) % 2}) for part in ("train", "test")}
     for k, n in enumerate(SIZES)}
)  # fmt: skip


def result(size: int, **changes: Any) -> Any:
    given: dict[str, Any] = {"algorithm": FedAvg(epochs=2), "rounds": 2, "runtime": "InProcess", **changes}
    return run(Experiment(name="t", data=DATA, model=MLP((5,)), batch_size=size, **given))


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("size", [12, 13, 64, 1_000_000])
def test_no_client_fills_it(size: int, engine: str) -> None:
    assert result(size, engine=engine).summary["digests"] == result(0, engine=engine).summary["digests"]


@pytest.mark.parametrize("size", [sum(SIZES), 1_000_000])
def test_pooled_is_filled_by_all_together(size: int) -> None:
    """The server's union is larger than each client, and has batches of its own size."""
    pooled = {"algorithm": Pooled(epochs=1)}
    digests = result(0, **pooled).summary["digests"]
    assert result(size, **pooled).summary["digests"] == digests
    assert result(12, **pooled).summary["digests"] != digests


def test_some_clients_fill_it() -> None:
    """Where one does, all have batches of that size: a client's bits do not depend on who is in its cohort."""
    assert result(11).summary["digests"] != result(0).summary["digests"]


def test_memory_does_not_grow_with_the_number() -> None:
    peaks = []
    for size in (0, 10_000_000):
        tracemalloc.start()
        result(size, engine="loop")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5e6
