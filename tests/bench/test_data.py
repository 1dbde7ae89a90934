"""The examples on disk follow their equations, and a federation of them is a view."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmtl.bench.data import TASK, TEST_EXAMPLES, TESTED, Stored, read_part, read_workload, write_data
from fedmtl.bench.network import flat, make_network
from fedmtl.bench.workloads import WORKLOADS, sweep
from tests.bench.small import SMALL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_data(SMALL, tmp_path)
    return tmp_path


def test_shapes_and_bits(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same workload gives the same bits, another seed others."""
    assert read_workload(folder) == SMALL
    x, y = read_part(folder, "train")
    assert x.shape == (7, 8, 6) and y.shape == (7, 8) and x.dtype == y.dtype == np.float32
    assert read_part(folder, "test")[0].shape == (7, TEST_EXAMPLES, 6)
    for seed, same in ((0, True), (1, False)):
        other = tmp_path_factory.mktemp("other")
        write_data(replace(SMALL, seed=seed), other)
        assert np.array_equal(read_part(other, "train")[0], x) == same


def test_inputs_are_near_a_mean_and_labels_shifted(tmp_path: Path) -> None:
    """x − 4 M_k = 2 ε: with 60 features classes are 4·√2·√60 ≈ 44 apart and noise 2·√60 ≈ 15 long, so that the nearest
    of the means, estimated from the first client's examples, names k; then y − k mod 3 is one of 0 and 1 a client."""
    work = replace(SMALL, input_shape=(60,), clients=30, examples=60)
    write_data(work, tmp_path)
    x, y = read_part(tmp_path, "train")
    means = np.stack([x[0][y[0] == label].mean(0) for label in range(3)])
    nearest = np.linalg.norm(x[:, :, None] - means, axis=-1).argmin(-1)
    shifts = (y - nearest) % 3
    assert (shifts == shifts[:, :1]).all()
    assert len(np.unique(shifts)) == 2  # relative to the first client's own shift
    assert (x - means[nearest]).std() == pytest.approx(2, rel=0.1)


def test_a_federation_copies_nothing(folder: Path) -> None:
    clients = Stored(str(folder)).load(0).clients
    assert list(clients) == list(range(7))
    x, y = read_part(folder, "train")
    for client, data in clients.items():
        assert np.array_equal(data.train.x, x[client]) and np.array_equal(data.train.y[TASK], y[client])
    first, second = (clients[client].train.x.__array_interface__["data"][0] for client in (0, 1))
    assert second - first == 8 * 6 * 4  # bytes: neighbours in one array


def test_only_some_are_tested(tmp_path: Path) -> None:
    write_data(replace(SMALL, clients=TESTED + 2), tmp_path)
    clients = Stored(str(tmp_path)).load(0).clients
    assert [len(data.test.x) for data in clients.values()] == [TEST_EXAMPLES] * TESTED + [0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clients": 0}, "clients of at least 1, got 0"),
        ({"cohort": 8}, "at most the 7 clients, got cohort=8"),
        ({"rounds": 1}, "at least 2, got 1"),
    ],
)
def test_a_workload_says_what_is_wrong(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("name", "trunk", "numbers"),
    [("W1", 105_216, (1_000, 100, 64, 16, 0.01)), ("W2", 2_080, (10_000, 1_000, 32, 16, 0.01))],
)
def test_workloads_are_fixed(name: str, trunk: int, numbers: tuple[float, ...], tmp_path: Path) -> None:
    """Parameters by hand: W1 trunk 16·9+16 + 32·16·9+32 + 1568·64+64 = 105,216; W2 trunk 64·32+32 = 2,080.

    Whoever changes them cannot compare with what was measured before.
    """
    work = WORKLOADS[name]
    assert (work.clients, work.cohort, work.examples, work.batch_size, work.lr) == numbers
    write_data(replace(work, clients=1, cohort=1, examples=1), tmp_path)
    assert flat(make_network(work, tmp_path).trunk.state_dict()).size == trunk


def test_the_sweep_changes_one_thing_at_a_time() -> None:
    base, points = WORKLOADS["W2"], sweep(2)
    for work, workers in points:
        changed = [f for f in ("model", "clients", "cohort", "examples") if getattr(work, f) != getattr(base, f)]
        assert len(changed) + (workers != 2) <= 1
    assert {1_000, 10_000, 100_000} <= {work.clients for work, _ in points}
    assert len({work.name for work, _ in points}) == len(points)
