"""CSV: the rows of one or several runs in a file, and their packets in another beside it."""

import csv
import fcntl
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from fedmtl.callbacks.base import RunInfo
from fedmtl.comm.tables import LEDGER, METRICS, Row, Table
from fedmtl.files import Folder

RUN_FIELDS = ("run", "name", "label", "seed")
"""Columns before those of a row: of which run it is."""


class Files(NamedTuple):
    """Where the rows of a run go."""

    rows: Path
    ledger: Path | None
    run: tuple[str, ...]
    """The values of ``RUN_FIELDS``."""


@dataclass(frozen=True)
class CSV:
    """Rows as lines of CSV, of many runs in one file; a run that is resumed or logged again replaces its own."""

    path: str = ""
    """File; empty: ``rows.csv`` in the run's folder, or in the current one."""
    packets: bool = True
    """Whether the ledger goes into a file beside it: ``x.ledger.csv`` for ``x.csv``."""

    def start(self, run: RunInfo) -> Files:
        rows = Path(self.path) if self.path else _own(run.folder)
        ledger = rows.with_suffix(f".ledger{rows.suffix}") if self.packets else None
        files = Files(rows, ledger, (run.id, run.name, run.label, str(run.experiment["seed"])))
        _begin(files.rows, METRICS, run.id)
        if files.ledger is not None:
            _begin(files.ledger, LEDGER, run.id)
        return files

    def rows(self, writer: Files, rows: Sequence[Row]) -> None:
        _append(writer.rows, METRICS, writer.run, rows)

    def ledger(self, writer: Files, rows: Sequence[Row]) -> None:
        if writer.ledger is not None:
            _append(writer.ledger, LEDGER, writer.run, rows)

    def end(self, writer: Files, summary: Mapping[str, Any] | None) -> None:
        pass  # each line is in its file already


def _own(folder: Path | None) -> Path:
    """The file in the run's folder, which may be a stranger's, or in the current one.

    Raises:
        LinkError: the folder has a link there.
    """
    name = "rows.csv"
    if folder is None:
        return Path(name)
    for each in (name, "rows.ledger.csv"):
        Folder(folder).exists(each)
    return folder / name


def _begin(path: Path, table: Table, run: str) -> None:
    """Make the file with its header, or drop the lines of a run from it.

    Raises:
        ValueError: a file with other columns, which is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = [*RUN_FIELDS, *table.fields]
    with _locked(path) as file:
        file.seek(0)
        lines = csv.reader(file)
        found = next(lines, None)
        if found is not None and found != header:
            raise ValueError(
                f"{str(path)!r} is no file of this callback: it begins with {','.join(found)[:60]!r}; give another path"
            )
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with open(draft, "w", encoding="utf-8", newline="") as others:
                writer = csv.writer(others, lineterminator="\n")
                writer.writerow(header)
                writer.writerows(line for line in lines if line and line[0] != run)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def _append(path: Path, table: Table, run: tuple[str, ...], rows: Sequence[Row]) -> None:
    text = io.StringIO(newline="")
    lines = ((*run, *(_text(row[field]) for field in table.fields)) for row in rows)
    csv.writer(text, lineterminator="\n").writerows(lines)
    with _locked(path) as file:
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
