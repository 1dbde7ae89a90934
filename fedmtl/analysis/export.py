"""A run's tables as text, for other programs: lines of JSON, or CSV."""

from collections.abc import Callable, Iterator
from pathlib import Path

from fedmtl.analysis.byte_table import BYTES, byte_blocks
from fedmtl.analysis.read import check_run, has_table, mark_of, read_summary
from fedmtl.core.file_errors import named_errors
from fedmtl.core.files import Folder
from fedmtl.tables.blocks import Block
from fedmtl.tables.client_names import named, names_of
from fedmtl.tables.lines import csv_lines, json_lines
from fedmtl.tables.schemas import TABLES, Table, read_table

FORMATS: dict[str, Callable[[Table, Iterator[Block]], Iterator[str]]] = {"jsonl": json_lines, "csv": csv_lines}


def export(folder: str | Path, what: str = "rounds", format: str = "jsonl") -> Iterator[str]:
    """Pieces of the text of a run's table; memory does not grow with the run.

    Args:
        folder: a run's. Of a run that goes on, or was killed, what it has written so far.
        what: "rounds", a row for each measurement; "ledger", a row for each packet; "measures", metrics beside the
            primary one; "confusion", examples by their class and the predicted one; "training", clients' losses; or
            "bytes", a row for each exchange, client and direction, see ``byte_rows``.
        format: "jsonl" or "csv".

    Raises:
        FileNotFoundError: the folder is not a run.
        ValueError: an unknown table or format, or a file that is damaged.
    """
    tables = {table.name: table for table in (*TABLES, BYTES)}
    if what not in tables or format not in FORMATS:
        raise ValueError(
            f"what is one of {', '.join(tables)} and format one of {', '.join(FORMATS)}, got {what!r} and {format!r}."
        )
    folder, table = Path(folder), tables[what]
    experiment = check_run(folder)
    summary = read_summary(folder / "summary.json", experiment)
    if table is BYTES:
        return FORMATS[format](named(table, names_of(summary)), byte_blocks(folder, summary))
    if not has_table(folder, table, summary):
        return FORMATS[format](table, iter(()))
    return FORMATS[format](named(table, names_of(summary)), read_table(folder, table, mark_of(folder, table, summary)))


def write_export(text: Iterator[str], path: Path) -> None:
    """Write pieces of text to a file, which is there when all of them are; a link in its place is replaced.

    Raises:
        OSError: the file cannot be written.
    """
    with named_errors(path):
        Folder(path.parent).write_pieces(path.name, (piece.encode() for piece in text))
