"""Columns of bytes: by hand, and of a run whose clients drop out."""

import csv
from pathlib import Path
from typing import Any

import pytest

from fedmtl import byte_rows, load_run, run
from fedmtl.analysis.byte_rows import byte_totals, rows_of
from fedmtl.analysis.export import export
from tests.toys import experiment

LEDGER: list[dict[str, Any]] = [
    {"round": round, "client": client, "direction": way, "purpose": purpose, "packet_bytes": size}
    for round, client, way, purpose, size in (
        (1, 3, "down", "train", 1000),
        (1, 8, "down", "train", 1000),
        (0, 3, "up", "evaluate", 40),
        (1, 3, "up", "train", 500),
        (1, 3, "down", "evaluate", 1000),  # the exchange after it
        (1, 3, "up", "evaluate", 40),
    )
]
"""Client 8 is sent a model and never replies; client 3 measures the model of the round before, too."""

ASKED_DOWN, ASKED_UP = 1607 + 8 * 130, 8 * 842 + 6 * 86
"""A message of 6 objects is asked for, each object is, and confirmed: 8 heads each way and 6 names, its records."""

SENT_DOWN, SENT_UP = 7 * 130 + 6 * 68 + 102, 1582 + 7 * 842 + 6 * 156
"""A reply is announced, and each of 6 objects sent, and what the server says of it, its records."""


def test_columns_by_hand() -> None:
    assert list(rows_of(LEDGER, [], {})) == [
        (1, 3, "down", "messages", 1000, 2607, 1000 + ASKED_DOWN + SENT_DOWN, 0, 8 * 968),
        (1, 3, "up", "messages", 540, 2122, 540 + ASKED_UP + SENT_UP, 0, 8 * (8 + 468)),
        (1, 8, "down", "messages", 1000, 2607, 1000 + ASKED_DOWN, 1000, 8 * 968),
        (1, 8, "up", "messages", 0, 0, ASKED_UP, 0, 0),
        (2, 3, "down", "messages", 1000, 2607, 1000 + ASKED_DOWN + SENT_DOWN, 0, 8 * 968),
        (2, 3, "up", "messages", 40, 1622, 40 + ASKED_UP + SENT_UP, 0, 8 * 8),
    ]
    assert sum(row.ideal_bits for row in rows_of([{**row, "ideal_bits": 7} for row in LEDGER], [], {})) == 6 * 7


def test_a_clock_says_what_is_wasted_and_how_long_clients_are_idle() -> None:
    """Client 8 goes away with 200 of its bytes sent. In 60 s two clients ask 40 times, of which 2 find a message, and
    send 5 heartbeats."""
    clock = [("simulated_wasted_bytes", 8, 1200.0), ("simulated_seconds", None, 60.0), ("train_loss", 3, 1.0)]
    training = [{"round": 1, "client": client, "metric": metric, "value": value} for metric, client, value in clock]
    found = list(rows_of(LEDGER, training, {}))
    assert [row.wasted_bytes for row in found] == [0, 0, 1000, 200, 0, 0, 0, 0]
    assert found[4:6] == [
        (1, None, "down", "idle", 0, 0, 43 * 130, 0, 0),
        (1, None, "up", "idle", 0, 0, 43 * 842, 0, 0),
    ]


def test_traffic_of_a_network_has_rows_of_the_whole_run() -> None:
    wire = {"control": {"down": 7, "up": 5}, "idle": {"down": 3, "up": 2}}
    found = list(rows_of([], [], {"transport": {"wire_bytes": wire}}))
    assert [row[2:4] + row[6:7] for row in found] == [
        ("down", "control", 7), ("up", "control", 5), ("down", "idle", 3), ("up", "idle", 2),
    ]  # fmt: skip
    assert all(row.round is None and row.client is None for row in found)


def test_a_run_in_its_folder_in_memory_and_exported(tmp_path: Path) -> None:
    """Columns add up to the summary's numbers."""
    changes = {"link": "Constant(0.0001, 0.00005)", "availability": "Always(dropout=0.4)", "rounds": 2}
    result = run(experiment(**changes), tmp_path)
    found = list(byte_rows(result))
    assert list(byte_rows(load_run(tmp_path))) == found
    lines = list(csv.DictReader("".join(export(tmp_path, "bytes", "csv")).splitlines()))
    assert [float(line["wasted_bytes"]) for line in lines] == [row.wasted_bytes for row in found]
    assert [line["client"] for line in lines] == ["" if row.client is None else str(row.client) for row in found]
    totals, summary = byte_totals(result), result.summary
    assert {way: totals[way]["packets"] for way in totals} == {way: summary["bytes"][way] for way in ("down", "up")}
    wasted = sum(sums["wasted"] for sums in totals.values())
    assert wasted == pytest.approx(summary["simulated"]["wasted_bytes"]) and wasted > 0
    for sums in totals.values():
        assert sums["packets"] < sums["application"] < sums["wire"] and sums["idle"] > 0 == sums["control"]
        assert 0 < sums["ideal"] < sums["packets"]
