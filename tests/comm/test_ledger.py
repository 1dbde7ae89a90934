"""The counter of bytes."""

from typing import Any

import pytest

from fedmtl.comm.ledger import Ledger, Transfer

TRANSFERS = [
    Transfer(0, 0, "down", "evaluate", 1),
    Transfer(0, 0, "up", "evaluate", 10),
    Transfer(1, 0, "down", "train", 100),
    Transfer(1, 0, "up", "train", 1_000),
    Transfer(1, 1, "up", "gather", 10_000),
    Transfer(2, 1, "down", "train", 100_000),
    Transfer(2, 1, "up", "train", 0),
]
"""Powers of ten: a sum shows which transfers are in it."""


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for transfer in TRANSFERS:
        ledger.record(transfer)
    return ledger


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        ((), 111_111),
        (("down",), 100_101),
        (("up",), 11_010),
        ((None, ("train",)), 101_100),
        (("up", ("train", "gather")), 11_000),
        (("down", ("evaluate",)), 1),
        (("down", ("gather",)), 0),
        (("up", ()), 0),
        (("up", ("gather", "gather")), 10_000),
    ],
)
def test_totals(ledger: Ledger, arguments: Any, total: int) -> None:
    assert ledger.total(*arguments) == total


def test_purposes_may_be_an_iterator(ledger: Ledger) -> None:
    assert ledger.total("up", iter(("train", "gather"))) == 11_000


def test_transfers_stay_in_order_and_go_into_another_ledger(ledger: Ledger) -> None:
    assert ledger.transfers == TRANSFERS
    again = Ledger(iter(TRANSFERS))
    assert again.transfers == TRANSFERS
    again.record(TRANSFERS[0])
    assert len(TRANSFERS) == 7 and again.total() == 111_112


def test_an_empty_ledger_has_counted_nothing() -> None:
    assert Ledger().total() == 0 and Ledger().transfers == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": "sideways"}, "got 'sideways' and 'train'"),
        ({"purpose": "gossip"}, "got 'down' and 'gossip'"),
        ({"payload_bytes": -1}, "no negative length, got -1"),
    ],
)
def test_refuses_what_is_no_transfer(ledger: Ledger, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ledger.record(Transfer(1, 0, "down", "train", 5)._replace(**change))
    assert ledger.transfers == TRANSFERS
