"""The counter of bytes."""

import hashlib
import random
import struct
from typing import Any

import numpy as np
import pytest

from fedmtl.protocol.ledger import Ledger, LedgerRow

TRANSFERS = [
    LedgerRow(0, 0, "down", "evaluate", 1),
    LedgerRow(1, 0, "down", "train", 100),
    LedgerRow(0, 0, "up", "evaluate", 10),
    LedgerRow(1, 0, "up", "train", 1_000),
    LedgerRow(1, 1, "up", "raw_data", 10_000),
    LedgerRow(2, 1, "down", "train", 100_000),
    LedgerRow(2, 1, "up", "train", 0),
]
"""Two requests, in the ledger's order. Powers of ten: a sum shows which transfers are in it."""


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for transfer in TRANSFERS:
        ledger.record(transfer)
    return ledger


# Totals


TOTALS = [
    ((), 111_111),
    (("down",), 100_101),
    (("up",), 11_010),
    ((None, ("train",)), 101_100),
    (("up", ("train", "raw_data")), 11_000),
    (("down", ("evaluate",)), 1),
    (("down", ("raw_data",)), 0),
    (("up", ()), 0),
    (("up", ("raw_data", "raw_data")), 10_000),
]


@pytest.mark.parametrize(("arguments", "total"), TOTALS)
def test_totals(ledger: Ledger, arguments: Any, total: int) -> None:
    assert ledger.total(*arguments) == total


def test_purposes_may_be_an_iterator(ledger: Ledger) -> None:
    assert ledger.total("up", iter(("train", "raw_data"))) == 11_000


def test_an_empty_ledger_has_counted_nothing() -> None:
    assert Ledger().total() == 0 and Ledger().transfers == []
    assert Ledger().digest() == hashlib.sha256().hexdigest()


# Order


def test_transfers_stay_in_order_and_go_into_another_ledger(ledger: Ledger) -> None:
    assert ledger.transfers == TRANSFERS
    assert Ledger(iter(TRANSFERS)).transfers == TRANSFERS
    ledger.record(LedgerRow(3, 0, "up", "train", 1))
    assert ledger.transfers == [*TRANSFERS, LedgerRow(3, 0, "up", "train", 1)] and ledger.total() == 111_112


@pytest.mark.parametrize("seed", range(5))
def test_the_order_inside_an_exchange_is_not_that_of_recording(ledger: Ledger, seed: int) -> None:
    shuffled = random.Random(seed).sample(TRANSFERS[:5], 5)
    assert shuffled != TRANSFERS[:5]
    other = Ledger([*shuffled, *TRANSFERS[5:]])
    assert other.transfers == TRANSFERS
    assert other.digest() == ledger.digest()


# Many at once


def test_many_are_as_many_single_ones() -> None:
    """A request that measures clients 0 to 4 after round 1, and trains 1 and 3 in round 2, in calls by kind."""
    down, up = 92, np.array([80, 96, 80, 96, 80])
    many = Ledger()
    many.record_many(2, np.array([1, 3]), "down", "train", down)
    many.record_many(1, np.array([0, 2, 4]), "down", "evaluate", down)
    many.record_many(1, np.arange(5), "up", "evaluate", up)
    many.record_many(2, np.array([1, 3]), "up", "train", np.array([500, 700]))
    expected = [
        LedgerRow(2 if c in (1, 3) else 1, c, "down", "train" if c in (1, 3) else "evaluate", 92) for c in range(5)
    ]
    for client in range(5):
        expected.append(LedgerRow(1, client, "up", "evaluate", 96 if client % 2 else 80))
        if client in (1, 3):
            expected.append(LedgerRow(2, client, "up", "train", 500 if client == 1 else 700))
    assert many.transfers == expected
    assert Ledger(expected).digest() == many.digest()
    assert many.total("up") == 3 * 80 + 2 * 96 + 1_200 and many.total("down") == 5 * 92
    assert all(type(number) is int for transfer in many for number in (transfer.client, transfer.packet_bytes))


def test_groups_of_clients_may_come_in_any_order() -> None:
    """As task sets do: a call each, ids ascending in each."""
    one, other = Ledger(), Ledger()
    one.record_many(1, np.arange(6), "up", "train", np.arange(6))
    for group in (np.array([1, 4]), np.array([0, 2]), np.array([3, 5])):
        other.record_many(1, group, "up", "train", group)
    assert one.transfers == other.transfers
    assert one.digest() == other.digest()


def test_nobody_is_no_transfer() -> None:
    ledger = Ledger()
    ledger.record_many(1, np.array([], np.int64), "up", "train", np.array([], np.int64))
    ledger.record_many(1, np.array([], np.int64), "up", "train", 5)
    assert ledger.transfers == [] and ledger.total() == 0 and ledger.digest() == Ledger().digest()


# Digest


def test_the_digest_is_what_it_says(ledger: Ledger) -> None:
    """The kinds of each request, in order: (round, direction, purpose, count), clients, lengths."""
    first = [(0, 0, 1, 1), (0,), (1,), (0, 1, 1, 1), (0,), (10,)]
    first += [(1, 0, 0, 1), (0,), (100,), (1, 1, 0, 1), (0,), (1_000,), (1, 1, 2, 1), (1,), (10_000,)]
    second = [(2, 0, 0, 1), (1,), (100_000,), (2, 1, 0, 1), (1,), (0,)]
    digest = b""
    for request in (first, second):
        numbers = [number for part in request for number in part]
        digest = hashlib.sha256(digest + struct.pack(f"<{len(numbers)}q", *numbers)).digest()
    assert ledger.digest() == digest.hex()


@pytest.mark.parametrize("field", ["round", "client", "direction", "purpose", "packet_bytes"])
@pytest.mark.parametrize("index", range(len(TRANSFERS)))
def test_another_transfer_is_another_digest(ledger: Ledger, index: int, field: str) -> None:
    others = {"direction": {"up": "down", "down": "up"}, "purpose": {"train": "raw_data"}}
    old = getattr(TRANSFERS[index], field)
    new = others[field].get(old, "train") if field in others else old + 1
    changed = TRANSFERS[index]._replace(**{field: new})
    assert Ledger([*TRANSFERS[:index], changed, *TRANSFERS[index + 1 :]]).digest() != ledger.digest()


def test_asking_changes_nothing(ledger: Ledger) -> None:
    asked = Ledger()
    for transfer in TRANSFERS:
        asked.record(transfer)
        assert asked.digest() == asked.digest() and asked.state_dict() == asked.state_dict()
    assert asked.transfers == asked.transfers == TRANSFERS
    assert asked.digest() == ledger.digest()


# Going on


def test_what_is_forgotten_stays_counted(ledger: Ledger) -> None:
    spilled, seen = Ledger(), []
    for transfers in (TRANSFERS[:5], TRANSFERS[5:]):
        for transfer in transfers:
            spilled.record(transfer)
        seen += spilled.transfers
        spilled.flush()
        assert spilled.transfers == []
    assert seen == TRANSFERS
    assert spilled.digest() == ledger.digest()
    assert all(spilled.total(*arguments) == total for arguments, total in TOTALS)


def test_a_ledger_goes_on_from_its_note(ledger: Ledger) -> None:
    again = Ledger.from_state_dict(Ledger(TRANSFERS[:5]).state_dict())
    assert again.transfers == []
    for transfer in TRANSFERS[5:]:
        again.record(transfer)
    assert again.digest() == ledger.digest()
    assert all(again.total(*arguments) == total for arguments, total in TOTALS)
    assert Ledger.from_state_dict(Ledger().state_dict()).digest() == Ledger().digest()


# What is no transfer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": "sideways"}, "got 'sideways' and 'train'"),
        ({"purpose": "gossip"}, "got 'down' and 'gossip'"),
        ({"packet_bytes": -1}, "no negative length, got -1"),
    ],
)
def test_refuses_what_is_no_transfer(ledger: Ledger, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ledger.record(LedgerRow(1, 0, "down", "train", 5)._replace(**change))
    assert ledger.transfers == TRANSFERS


@pytest.mark.parametrize("lengths", [np.array([1, 2]), np.array([1, 2, 3, 4]), np.array([[1, 2, 3]])])
def test_refuses_lengths_that_are_not_one_a_client(ledger: Ledger, lengths: Any) -> None:
    with pytest.raises(ValueError, match=rf"got {lengths.size} for 3 clients"):
        ledger.record_many(2, np.arange(3), "up", "train", lengths)
    with pytest.raises(ValueError, match="no negative length, got -3"):
        ledger.record_many(2, np.arange(3), "up", "train", np.array([5, -3, 5]))
    assert ledger.transfers == TRANSFERS
