"""Validation parts: which examples they hold, and that nothing else changes."""

import logging

import numpy as np
import pytest

from fedmtl.client.data_shard import Shard, shard_of
from fedmtl.client.validation import with_validation
from fedmtl.data import ClientData, Federation, Split
from fedmtl.data.joined import JoinedRows as JoinedRows
from fedmtl.data.joined import joined
from fedmtl.data.validation import example_counts, valid_sizes
from fedmtl.runtime.flower.server_app import check_validation
from fedmtl.tasks import Binary

SIZES = [1, 2, 3, 7, 40]
TASKS = {"sick": Binary()}


def clients(sizes: list[int] = SIZES) -> dict[int, ClientData]:
    """Example n of client c is the number 100 c + n, and its label is n mod 2; test examples are negative."""

    def split(client: int, size: int, sign: int) -> Split:
        n = np.arange(size)
        x = (sign * (100 * client + n))[:, None].astype(np.float32)
        return Split(x, {"sick": (n % 2).astype(np.float32)})

    return {10 * c: ClientData(split(c, size, 1), split(c + 1, 5, -1)) for c, size in enumerate(sizes)}


def parts(shard: Shard, client: int) -> tuple[list[float], list[float]]:
    """Training and validation examples of a client."""
    (table,), (row,) = shard.locate(np.array([client]))
    found = shard.tables[table]
    assert found.valid is not None
    for rows in (found.train, found.valid):
        some = rows.split(row)
        assert (some.y["sick"] == some.x[:, 0] % 100 % 2).all()  # labels stay with their inputs
    return found.train.split(row).x[:, 0].tolist(), found.valid.split(row).x[:, 0].tolist()


def test_sizes_are_rounded_and_leave_one_example_to_train_on() -> None:
    """Of 1, 2, 3, 7, 40: .3 is .3, .6, .9, 2.1, 12; .01 is below one everywhere; .9 would be all of 1, 2, 3."""
    sizes = np.array(SIZES)
    assert valid_sizes(sizes, 0.3).tolist() == [0, 1, 1, 2, 12]
    assert valid_sizes(sizes, 0.01).tolist() == [0, 1, 1, 1, 1]
    assert valid_sizes(sizes, 0.9).tolist() == [0, 1, 2, 6, 36]
    assert valid_sizes(sizes, 0.0).tolist() == [0] * 5
    counts = example_counts(np.array([[7, 5], [1, 5]]), 0.3)
    assert counts is not None and counts.tolist() == [[5, 5, 2], [1, 5, 0]]


def test_each_example_is_in_one_part_and_parts_keep_their_order() -> None:
    whole = shard_of(clients())
    divided = with_validation(whole, 0.3, seed=0)
    for client, size, held in zip(whole, SIZES, [0, 1, 1, 2, 12], strict=True):
        train, valid = parts(divided, client)
        assert len(valid) == held and train == sorted(train) and valid == sorted(valid)
        assert sorted(train + valid) == [10 * client + n for n in range(size)]
        assert (divided[client].test.x == whole[client].test.x).all()


def test_parts_follow_from_the_seed_and_the_client_alone() -> None:
    """The same for a node that hosts one client, for clients in common arrays, and whatever the test part is."""
    whole, ids = with_validation(shard_of(clients()), 0.3, seed=3), [10 * c for c in range(len(SIZES))]
    found = {client: parts(whole, client) for client in ids}
    for client in ids:
        alone = with_validation(shard_of({client: clients()[client]}), 0.3, seed=3)
        assert parts(alone, client) == found[client]
    x = np.concatenate([clients()[client].train.x for client in ids])
    y = {"sick": np.concatenate([clients()[client].train.y["sick"] for client in ids])}
    size = np.array(SIZES)
    rows = JoinedRows(x, y, np.cumsum(size) - size, size)
    nothing = rows._replace(size=0 * size)
    together = with_validation(shard_of(joined([(("sick",), np.array(ids), rows, nothing)])), 0.3, seed=3)
    assert {client: parts(together, client) for client in ids} == found
    other = with_validation(shard_of(clients()), 0.3, seed=4)
    assert {client: parts(other, client) for client in ids} != found


def test_without_a_fraction_the_clients_are_the_same_object() -> None:
    whole = shard_of(clients())
    assert with_validation(whole, 0.0, seed=0) is whole


def test_clients_that_are_too_small_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    schema = Federation(TASKS, (1,), clients()).schema
    with caplog.at_level(logging.WARNING, "fedmtl"):
        check_validation(schema, 0.3)
    assert [record.getMessage() for record in caplog.records] == [
        "1 client(s) have one training example, keep it, and validate nothing: 0"
    ]
    check_validation(schema, 0.0)
    with pytest.raises(ValueError, match=r"valid_fraction=0.3 holds out nothing.*set valid_fraction=0"):
        check_validation(Federation(TASKS, (1,), clients([1, 1])).schema, 0.3)
