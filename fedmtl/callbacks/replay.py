"""The rows of a run's folder in the order in which a live run gives them."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from fedmtl.comm.blocks import Mark
from fedmtl.comm.tables import LEDGER, METRICS, Row, Table, read_table, rows


class Exchange(NamedTuple):
    """What one exchange between server and clients brought."""

    rows: list[Row]
    """Of the model before the round that it trains, where it was measured."""
    ledger: list[Row]


def exchanges(folder: Path, marks: Mapping[str, Mark | None]) -> Iterator[Exchange]:
    """The exchanges of a run, one in memory at a time.

    Args:
        folder: the run's.
        marks: table -> how far its file belongs to the run; None for all of it.
    """
    measured = ((round, list(some)) for (round, _), some in groupby(_read(folder, METRICS, marks), _model))
    following = next(measured, None)
    for packets in _exchanges(_read(folder, LEDGER, marks)):
        found: list[Row] = []
        if following is not None and following[0] + 1 == _number(packets[0]):
            found, following = following[1], next(measured, None)
        yield Exchange(found, packets)
    rest = [] if following is None else [*following[1], *(row for _, some in measured for row in some)]
    if rest:
        yield Exchange(rest, [])


def _read(folder: Path, table: Table, marks: Mapping[str, Mark | None]) -> Iterator[Row]:
    mark = marks[table.name]
    if mark is None or mark.bytes:
        yield from rows(table, read_table(folder, table, mark))


def _model(row: Row) -> tuple[int, str]:
    return row["round"], row["part"]


def _exchanges(packets: Iterator[Row]) -> Iterator[list[Row]]:
    """The packets of each exchange, which has those down before those up."""
    some: list[Row] = []
    for row in packets:
        if some and (_number(row) != _number(some[0]) or row["direction"] == "down" != some[-1]["direction"]):
            yield some
            some = []
        some.append(row)
    if some:
        yield some


def _number(packet: Row) -> int:
    """Exchange t trains round t and measures the model of round t − 1."""
    return packet["round"] + (packet["purpose"] == "evaluate")
