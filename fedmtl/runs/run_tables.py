"""Rows of a run's tables so far: in memory, or in the files of its folder."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from fedmtl.protocol.ledger import Ledger
from fedmtl.runs.columns import (
    PackedMetrics,
    RoundMetrics,
    pack_metrics,
    rows,
    unpack_metrics,
)
from fedmtl.tables import blocks
from fedmtl.tables.blocks import Mark
from fedmtl.tables.schemas import (
    CONFUSION,
    LEDGER,
    MEASURES,
    METRICS,
    TABLES,
    TEST,
    TRAINING,
    Row,
    Table,
    read_table,
)
from fedmtl.tables.schemas import rows as rows_in
from fedmtl.tasks.base import Task

Blocks = list[blocks.Block]

Read = Callable[[], list[Row]]
"""Function that reads rows; it outlives server and recorder."""


class RunTables:
    """The tables of a run: in the files of its folder, else in memory, a byte or two a number.

    Args:
        folder: of the run; None keeps everything in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._metrics: list[PackedMetrics] = []
        self._blocks: dict[str, Blocks] = {table.name: [] for table in (MEASURES, CONFUSION, TRAINING)}

    def add(self, measured: RoundMetrics | None, other: Mapping[str, Blocks]) -> None:
        """Keep a round's metrics, and blocks of other tables, in memory."""
        if measured is not None:
            self._metrics.append(pack_metrics(measured))
        for table, found in other.items():
            self._blocks[table] += found

    def append(self, found: Mapping[str, Blocks], marks: dict[str, Mark]) -> None:
        """Append a round's blocks to the files of their tables, and move the marks to their ends."""
        assert self._folder is not None
        files = {table.name: self._folder / table.file for table in TABLES if found.get(table.name)}
        ends = blocks.append_all({file: (marks[name], found[name]) for name, file in files.items()})
        marks |= {name: ends[file] for name, file in files.items()}

    def metrics(
        self, tasks: Mapping[str, Task], marks: Mapping[str, Mark], round: int | None = None, part: str | None = None
    ) -> Read:
        """Return a function that reads the metrics of one round's model on one part, or of all."""
        if self._folder is None:
            return partial(_measured_rows, tasks, self._metrics, round, part)
        return partial(_read_rows, self._folder, METRICS, marks[METRICS.name], round, part)

    def other(self, table: Table, marks: Mapping[str, Mark], round: int | None = None) -> Read:
        """Return a function that reads ``measures``, ``confusion`` or ``training``."""
        if self._folder is None:
            return partial(_table_rows, table, self._blocks[table.name], round)
        return partial(_read_rows, self._folder, table, marks[table.name], round)

    def others(self, marks: Mapping[str, Mark]) -> tuple[Read, Read, Read]:
        """Return functions that read ``measures``, ``confusion`` and ``training``."""
        return self.other(MEASURES, marks), self.other(CONFUSION, marks), self.other(TRAINING, marks)

    def ledger(self, ledger: Ledger, marks: Mapping[str, Mark]) -> Read:
        """Return a function that reads the ledger."""
        if self._folder is None:
            return partial(_ledger_rows, ledger)
        return partial(_read_rows, self._folder, LEDGER, marks[LEDGER.name])


def _measured_rows(
    tasks: Mapping[str, Task], kept: list[PackedMetrics], round: int | None, part: str | None
) -> list[Row]:
    some = [one for one in kept if round in (None, one.round) and part in (None, one.part)]
    return [row for one in some for row in rows(tasks, unpack_metrics(one))]


def _table_rows(table: Table, some: list[blocks.Block], round: int | None) -> list[Row]:
    return list(rows_in(table, (block for block in some if round in (None, block.shared["round"]))))


def _ledger_rows(ledger: Ledger) -> list[Row]:
    rows = (transfer._asdict() for transfer in ledger)
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _read_rows(folder: Path, table: Table, mark: Mark, round: int | None = None, part: str | None = None) -> list[Row]:
    """The rows of a table; of metrics also those of one round and one part alone."""
    some = read_table(folder, table, mark)
    if round is not None:
        some = (block for block in some if block.shared.get("round") == round)
    if part is not None:
        some = (block for block in some if block.shared.get("part", TEST) == part)
    return list(rows_in(table, some))
