"""The rows of a run's folder in the order in which a live run gives them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from fedmtl.tables.blocks import Mark
from fedmtl.tables.schemas import LEDGER, METRICS, TABLES, TRAINING, Row, Table, read_table, rows

ExchangeRows = Mapping[str, Sequence[Row]]
"""Table -> the rows that one exchange between server and clients brought, of the model before the round that it trains;
the ledger is last."""


class _Models:
    """The rows of a table of measurements, one model at a time; or of training, one round."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._models = (list(some) for _, some in groupby(rows, lambda row: (row["round"], row.get("part"))))
        self._next = next(self._models, None)

    def of(self, **wanted: Any) -> list[Row]:
        """The next model's rows where they have these values, such as ``round=3``."""
        if self._next is None or any(self._next[0][field] != value for field, value in wanted.items()):
            return []
        found, self._next = self._next, next(self._models, None)
        return found


def exchanges(folder: Path, marks: Mapping[str, Mark | None]) -> Iterator[ExchangeRows]:
    """The exchanges of a run, one in memory at a time.

    Args:
        folder: the run's.
        marks: table -> how far its file belongs to the run; None for all of it.
    """
    measured = _Models(_read(folder, METRICS, marks))
    trained = _Models(_read(folder, TRAINING, marks))
    further = [table for table in TABLES if table not in (METRICS, LEDGER, TRAINING)]
    others = {table.name: _Models(_read(folder, table, marks)) for table in further}
    for packets in packets_by_exchange(_read(folder, LEDGER, marks)):
        found = {METRICS.name: measured.of(round=exchange_of(packets[0]) - 1)}
        for row in found[METRICS.name][:1]:
            found |= {name: each.of(round=row["round"], part=row["part"]) for name, each in others.items()}
        yield {**found, TRAINING.name: trained.of(round=exchange_of(packets[0])), LEDGER.name: packets}


def _read(folder: Path, table: Table, marks: Mapping[str, Mark | None]) -> Iterator[Row]:
    """The rows of a table; none where a run has measured nothing for it."""
    mark = marks[table.name]
    if mark.bytes if mark is not None else (folder / table.file).is_file():
        yield from rows(table, read_table(folder, table, mark))


def packets_by_exchange(packets: Iterable[Row]) -> Iterator[list[Row]]:
    """The packets of each exchange, in the order of the ledger, which has those down before those up."""
    some: list[Row] = []
    for row in packets:
        if some and (exchange_of(row) != exchange_of(some[0]) or row["direction"] == "down" != some[-1]["direction"]):
            yield some
            some = []
        some.append(row)
    if some:
        yield some


def exchange_of(packet: Row) -> int:
    """Exchange t trains round t and measures the model of round t − 1."""
    return packet["round"] + (packet["purpose"] == "evaluate")
