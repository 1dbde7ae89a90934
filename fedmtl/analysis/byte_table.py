"""The rows of ``byte_rows`` as a table of a run, for lines of JSON and CSV."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from fedmtl.analysis.byte_rows import ByteRow, rows_of
from fedmtl.analysis.read import has_table, mark_of
from fedmtl.tables.blocks import Block
from fedmtl.tables.schemas import LEDGER, TRAINING, Row, Table, read_table, rows

LINES = 2**12
"""Lines of a block: little memory for any run."""


def _values(block: Block) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*block.shared["rows"], strict=True)))


BYTES = Table("bytes", ByteRow._fields, _values)
"""Computed when it is read, and in no file of a run's folder."""


def byte_blocks(folder: Path, summary: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the rows of a run's folder in blocks."""

    def of(table: Table) -> Iterator[Row]:
        there = has_table(folder, table, summary)
        return rows(table, read_table(folder, table, mark_of(folder, table, summary)) if there else iter(()))

    found = rows_of(of(LEDGER), of(TRAINING), summary)
    while some := list(islice(found, LINES)):
        yield Block(BYTES.name, len(some), {"rows": some}, {})
