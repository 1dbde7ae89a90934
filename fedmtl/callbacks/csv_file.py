"""CSV: the rows of one or several runs in a file, and those of their other tables in files beside it."""

import csv
import fcntl
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from fedmtl.callbacks.base import RunInfo
from fedmtl.core.files import Folder
from fedmtl.tables.schemas import METRICS, TABLES, Row, Table
from fedmtl.timing.timing import Timing

NAME = "rows.csv"

TABLE = {table.name: table for table in TABLES}

RUN_FIELDS = ("run", "name", "method", "seed")
"""Columns before those of a row: of which run it is."""


class Files(NamedTuple):
    """Files for the rows of a run."""

    paths: Mapping[str, Path]
    """Table -> file."""
    run: tuple[str, ...]
    """The values of ``RUN_FIELDS``."""


@dataclass(frozen=True)
class CSV:
    """Lines of CSV, of many runs in one file; a run that is resumed or logged again replaces its own."""

    path: str = ""
    """File; empty: ``rows.csv`` in the run's folder, or in the current one."""
    others: bool = True
    """True where the other tables go into files beside it, as the ledger into ``x.ledger.csv`` for ``x.csv``."""

    def start(self, run: RunInfo) -> Files:
        path = Path(self.path) if self.path else (run.folder or Path()) / NAME
        paths = {name: _beside(path, name) for name in TABLE if self.others or name == METRICS.name}
        timed = any(field.name in run.experiment for field in fields(Timing))
        for name, each in paths.items():
            if not self.path and run.folder is not None:
                Folder(run.folder).exists(each.name)  # the folder may be a stranger's: a link there is refused
            _begin(each, TABLE[name], run.id, timed)
        return Files(paths, (run.id, run.name, run.label, str(run.experiment["seed"])))

    def rows(self, writer: Files, table: str, rows: Sequence[Row]) -> None:
        if table in writer.paths:
            _append(writer.paths[table], writer.run, rows)

    def end(self, writer: Files, summary: Mapping[str, Any] | None) -> None:
        pass  # each line is in its file already


def _beside(path: Path, table: str) -> Path:
    """The file of a table."""
    return path if table == METRICS.name else path.with_suffix(f".{table}{path.suffix}")


def _begin(path: Path, table: Table, run: str, timed: bool) -> None:
    """Make the file with its header, or drop the lines of a run from it.

    With the first run that has a simulated clock a file gets its columns, which are empty for other runs; that of the
    ledger has ``ideal_bits``, empty for codecs that declare none.

    Raises:
        ValueError: a file with other columns, which is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = [*RUN_FIELDS, *table.fields]
    wide = [*plain, *table.spent, *table.saved]
    with _locked(path) as file:
        file.seek(0)
        lines = csv.reader(file)
        found = next(lines, None)
        if found is not None and found not in (plain, wide):
            raise ValueError(
                f"{str(path)!r} is no file of this callback: it begins with {','.join(found)[:60]!r}; give another path"
            )
        header = wide if timed or table.saved or found == wide else plain
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with open(draft, "w", encoding="utf-8", newline="") as others:
                writer = csv.writer(others, lineterminator="\n")
                writer.writerow(header)
                writer.writerows(_padded(line, len(header)) for line in lines if line and line[0] != run)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def _padded(line: list[str], length: int) -> list[str]:
    return line + [""] * (length - len(line))


def _append(path: Path, run: tuple[str, ...], rows: Sequence[Row]) -> None:
    text = io.StringIO(newline="")
    with _locked(path) as file:
        file.seek(0)
        names = next(csv.reader(file))[len(RUN_FIELDS) :]  # another run may have widened it
        lines = ((*run, *(_text(row.get(name)) for name in names)) for row in rows)
        csv.writer(text, lineterminator="\n").writerows(lines)
        file.write(text.getvalue())


def _text(value: Any) -> Any:
    """A truth as in JSON; None is an empty field."""
    return str(value).lower() if isinstance(value, bool) else value


@contextmanager
def _locked(path: Path) -> Iterator[TextIO]:
    """The file, open to read and to append; other processes that write runs into it wait meanwhile."""
    while True:
        with open(path, "a+", encoding="utf-8", newline="") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                current = os.stat(path).st_ino == os.fstat(file.fileno()).st_ino
            except FileNotFoundError:
                current = False
            if current:  # else another process replaced the file while this one waited
                yield file
                return
