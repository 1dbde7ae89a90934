"""Models of every algorithm's run, from its folder and live: they are those that the run measured."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl import Experiment, load_result, run
from fedmtl.export import model_formats
from tests.conftest import ALL_ALGORITHMS, UNLIKE
from tests.export.measured import check_measured
from tests.export.test_shrink import dense_rows, last_rows, shrink, tiny_run


@pytest.fixture(scope="module", params=ALL_ALGORITHMS, ids=repr)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Experiment, Path]]:
    """Two rounds of half of four clients, broadcasts that lose something; and the run's folder."""
    folder = tmp_path_factory.mktemp("run")
    yield tiny_run(folder, request.param), folder


def state_of(algorithm: Any) -> str:
    """All that an algorithm declares of itself, of which what it sends and keeps, but its technique."""
    return repr(replace(algorithm.traits, technique=""))


FIRST = {state_of(algorithm): algorithm for algorithm in reversed(ALL_ALGORITHMS)}
"""What is sent and kept -> the first algorithm of which that is so."""


def test_predictions_are_those_that_the_run_measured(ran: tuple[Experiment, Path]) -> None:
    """Accuracy, F1 and RMSE of ``predict`` on the test examples, by numpy, are the run's own last rows: of the folder
    alone, and without a folder. Where an algorithm of the same traits, which sends and keeps the same, was held in
    memory before, as one of a further weighting, it is only read from the folder."""
    experiment, folder = ran
    data = experiment.load()
    kept = load_result(folder, allow=["tests"])
    if experiment.algorithm != FIRST[state_of(experiment.algorithm)]:
        check_measured(kept, data)
        return
    live = run(experiment)
    assert kept.summary["digests"] == live.summary["digests"] and kept.ledger == live.ledger
    assert [row | {"seconds": 0} for row in kept.rows] == [row | {"seconds": 0} for row in live.rows]
    one, other = check_measured(live, data), check_measured(kept, data)
    for client in UNLIKE:
        assert all(np.array_equal(one[client][task].outputs, other[client][task].outputs) for task in one[client])


def test_float32_is_what_the_run_measured(ran: tuple[Experiment, Path]) -> None:
    """Bit-identical, engine loop: broadcast, codec and private state of all clients are the run's own.

    The run is not changed, but for the two files; int8 takes fewer bytes, which no pruning of it gives back.
    """
    _, folder = ran
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shrunk = shrink(folder, model_formats([0.5]))
    assert dense_rows(shrunk) == last_rows(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    dense, int8, pruned, both = shrunk.smalls
    for client in UNLIKE:
        assert both.bytes[client] <= int8.bytes[client] < dense.bytes[client] >= pruned.bytes[client]
