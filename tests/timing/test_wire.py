"""A clock on which clients move what Flower's transport adds to packets."""

import pytest

from fedmtl.analysis.byte_rows import byte_rows
from fedmtl.run_experiment import run
from tests.toys import experiment


def test_transfers_take_the_bytes_on_the_wire_by_hand() -> None:
    """A message of b bytes and its reply of c bytes move b + 1607 + 8 · 130 + 7 · 130 + 6 · 68 + 102 bytes down, at
    1000 a second, and c + 1582 + 7 · 842 + 6 · 156 + 8 · 842 + 6 · 86 up, at 500 a second."""
    result = run(experiment(link="Constant(0.008, 0.004, NoRadio())", wire=True, rounds=1))
    packets = [row["packet_bytes"] for row in result.ledger if row["round"] == 1 and row["purpose"] == "train"]
    down, up = max(packets[:6]), max(packets[6:])
    expected = (down + 4067) / 1000 + (up + 15_664) / 500
    assert result.summary["simulated"]["seconds"] == pytest.approx(expected)
    assert result.summary["simulated"]["wire"] is True


def test_wasted_bytes_are_those_on_the_wire() -> None:
    """Of late clients, which move message and reply whole."""
    devices = "DeviceClasses([200, 20], [4, 2], [1, 1])"
    result = run(experiment(devices=devices, policy="Deadline(0.3)", wire=True, rounds=1))
    late = {row["client"] for row in result.training if row["metric"] == "simulated_late" and row["value"]} - {None}
    train = {
        (row["client"], row["direction"]): row["packet_bytes"]
        for row in result.ledger
        if row["purpose"] == "train" and row["client"] in late
    }
    wasted = {(row.client, row.direction): row.wasted_bytes for row in byte_rows(result) if row.wasted_bytes}
    assert late and wasted == {key: size + {"down": 4067, "up": 15_664}[key[1]] for key, size in train.items()}


def test_bytes_on_the_wire_take_no_time_where_nothing_does() -> None:
    plain, wired = run(experiment()), run(experiment(wire=True))
    assert wired.summary["digests"] == plain.summary["digests"]
    assert wired.summary["simulated"]["seconds"] == 0
