"""Clients in common arrays are the clients that they would be one by one, and what is wrong names its client."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.client.data_shard import shard_of
from fedmtl.client.shard_files import read_shard, write_shard
from fedmtl.data import Synthetic
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.joined import Joined, JoinedRows, joined, some_of
from fedmtl.data.roster import Roster, roster_of
from fedmtl.runs.same_run import examples_digest
from fedmtl.tasks import Binary, Regression

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((40, 3)).astype(np.float32)
SICK, AGE = (DRAW.integers(0, 2, 40).astype(np.float32), DRAW.standard_normal(40).astype(np.float32))
TASKS = {"sick": Binary(), "age": Regression()}


def rows(start: list[int], size: list[int], x: Any = X, **labels: Any) -> JoinedRows:
    return JoinedRows(x, labels or {"sick": SICK}, np.array(start), np.array(size))


def clients() -> Joined:
    """Two own "sick", given in two parts and in no order, one both tasks; 8 has no test example."""
    return joined(
        [
            (("sick",), np.array([8]), rows([5], [3]), rows([0], [0])),
            (("age", "sick"), np.array([4]), rows([10], [2], age=AGE, sick=SICK), rows([30], [1], age=AGE, sick=SICK)),
            (("sick",), np.array([2]), rows([0], [4]), rows([20], [2])),
        ]
    )


def one_by_one(some: Joined) -> dict[int, ClientData]:
    return {client: some[client] for client in some}


def same(some: Mapping[int, ClientData], others: Mapping[int, ClientData]) -> None:
    assert list(some) == list(others)
    for client, data in some.items():
        for one, other in zip(data, others[client], strict=True):
            assert one.x.dtype == other.x.dtype and np.array_equal(one.x, other.x) and one.y.keys() == other.y.keys()
            assert all(np.array_equal(one.y[task], other.y[task]) for task in one.y)


def test_clients_in_arrays_are_those_of_slices() -> None:
    found = Federation(TASKS, (3,), clients())
    assert isinstance(found.clients, Joined)
    expected = {
        2: ClientData(Split(X[0:4], {"sick": SICK[0:4]}), Split(X[20:22], {"sick": SICK[20:22]})),
        4: ClientData(
            Split(X[10:12], {"age": AGE[10:12], "sick": SICK[10:12]}),
            Split(X[30:31], {"age": AGE[30:31], "sick": SICK[30:31]}),
        ),
        8: ClientData(Split(X[5:8], {"sick": SICK[5:8]}), Split(X[:0], {"sick": SICK[:0]})),
    }
    same(found.clients, expected)
    other = Federation(TASKS, (3,), expected)
    assert found.schema.owners == other.schema.owners == {2: ("sick",), 4: ("age", "sick"), 8: ("sick",)}
    assert found.sizes.tolist() == other.sizes.tolist() == [[4, 2], [2, 1], [3, 0]]
    assert found.ids().tolist() == other.ids().tolist() == [2, 4, 8]
    assert examples_digest(found.clients) == examples_digest(other.clients)


@pytest.mark.parametrize("ids", [[2, 4, 8], [8, 2], [4]])
def test_shards_of_some_clients_are_the_same_files(ids: list[int], tmp_path: Path) -> None:
    found = some_of(Federation(TASKS, (3,), clients()).clients, np.array(ids))
    write_shard(tmp_path / "joined", found)
    write_shard(tmp_path / "each", {client: found[client] for client in sorted(ids)})
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("joined", "each")]
    assert files[0] == files[1]
    same(read_shard(tmp_path / "joined"), found)
    same(shard_of(found), found)


def test_arrays_that_are_not_the_same_are_joined() -> None:
    """A part of other arrays for the same set of tasks."""
    part = (("sick",), np.array([1]), rows([1], [2], X[30:]), rows([0], [1], X[30:]))
    found = joined([(("sick",), np.array([5]), rows([2], [3]), rows([9], [1])), part])
    assert np.array_equal(found[1].train.x, X[31:33]) and np.array_equal(found[5].train.x, X[2:5])


def test_whole_numbers_and_other_types_follow_the_rules_of_one_client() -> None:
    tokens = DRAW.integers(0, 9, (40, 3)).astype(np.int16)
    found = Federation(
        TASKS, (3,), joined([(("sick",), np.array([1]), rows([0], [4], tokens), rows([5], [1], tokens))])
    )
    assert found.schema.integer_inputs and found.clients[1].train.x.dtype == np.int64
    floats = found.with_floats()
    assert floats.clients[1].train.x.dtype == np.float32 and not floats.schema.integer_inputs


def with_nan() -> Any:
    x = X.copy()
    x[6, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (rows([0, 5], [4, 3], with_nan()), rows([0, 0], [1, 1]), "client 9, train: inputs hold NaN .*first row 1"),
        (rows([0, 5], [4, 3]), rows([0, 5], [1, 3], with_nan()), "client 9, test: inputs hold NaN"),
        (rows([0, 5], [4, 3], sick=SICK + 3 * (np.arange(40) == 7)), rows([0, 0], [1, 1]), "client 9, train.*'sick'"),
        (rows([0, 38], [4, 3]), rows([0, 0], [1, 1]), "client 9, train: 3 rows from 38 on, but there are 40"),
        (rows([0, -1], [4, 3]), rows([0, 0], [1, 1]), "client 9, train: 3 rows from -1"),
        (rows([0, 5], [4, 2**62]), rows([0, 0], [1, 1]), "client 9, train: 4611686018427387904 rows from 5"),
        (rows([0, 5], [4, 0]), rows([0, 0], [1, 1]), "Client 9 has no training example"),
        (rows([0], [4]), rows([0, 0], [1, 1]), "2 clients have 1 starts and 1 sizes"),
        (rows([0, 5], [4, 3], sick=SICK[:30]), rows([0, 0], [1, 1]), "has 30 labels for 40 inputs"),
        (rows([0, 5], [4, 3], X[:, :2]), rows([0, 0], [1, 1]), r"inputs have shape \(2,\)"),
    ],
)
def test_what_is_wrong_names_its_client(train: JoinedRows, test: JoinedRows, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Federation(TASKS, (3,), joined([(("sick",), np.array([3, 9]), train, test)]))


@pytest.mark.parametrize(
    ("ids", "message"), [([3, 3], "Client 3 is given twice"), ([-1, 3], "got -1"), ([3, 2**32], "got")]
)
def test_ids_are_each_clients_own(ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Federation(TASKS, (3,), joined([(("sick",), np.array(ids), rows([0, 5], [4, 3]), rows([0, 0], [1, 1]))]))


def test_a_roster_of_arrays_is_that_of_a_mapping() -> None:
    owners = {7: ("b",), 2: ("a", "b"), 5: ("b",)}
    found = roster_of(np.array([7, 2, 5]), [("a",), ("a", "b"), ("b",)], np.array([2, 1, 2]))
    assert found == Roster(owners) == dict(owners) and list(found) == [2, 5, 7]
    assert found.task_sets == [("a", "b"), ("b",)] and found.first() == [2, 5] and found[5] == ("b",)
    assert 3 not in found and 8 not in found and found.task_set(np.array([7, 2])).tolist() == [1, 0]


def test_many_clients_are_loaded_without_an_object_each() -> None:
    """By counting: the garbage collector knows all containers that the data made."""
    import gc

    small = Synthetic(clients=4, examples=1, test_examples=1, features=1, rank=1, tasks=1, classes=2)
    large = Synthetic(clients=50_000, examples=1, test_examples=1, features=1, rank=1, tasks=1, classes=2)
    counts = []
    for data in (small, large):
        gc.collect()
        before = len(gc.get_objects())
        federation = data.load(0)
        schema = federation.schema
        counts.append(len(gc.get_objects()) - before)
        assert len(schema.owners) == len(federation.clients) == data.clients
    assert abs(counts[1] - counts[0]) < 100
