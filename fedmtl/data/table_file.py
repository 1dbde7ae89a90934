"""A table on disk as a data set: CSV or Parquet."""

import csv
import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean
from fedmtl.data.base import Federation
from fedmtl.data.cleaning import CLEAN, checked_steps
from fedmtl.data.frame import FrameData, from_frame
from fedmtl.data.source import DataSource

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class TableFile:
    """A CSV or Parquet file: a column of clients, features or a text, and a column for each task.

    Fields are as the arguments of ``from_frame``; empty ones stand for none. CSV is UTF-8, separated by commas, with
    names in its first line; empty cells are missing, and so are NA, NaN, null and the other words of pandas. A first
    column without a name that numbers the rows, as pandas writes it, is left out.

    Raises:
        ValueError: in ``load``, a file that is no table, that has changed, or what ``from_frame`` refuses.
        ImportError: in ``load``, where pandas is missing.
    """

    path: str = ""
    """The file, seen from the folder that the command runs in."""
    client: str = "client"
    """The column of clients."""
    tasks: tuple[str, ...] = ()
    """The columns of labels."""
    features: tuple[str, ...] = ()
    """The columns of inputs; none for all others."""
    text: str = ""
    """A column of texts, in place of features."""
    kinds: Any = field(default=(), metadata={"component": ("task",), "mapping": True})
    """Task -> its kind, of those that are not inferred; kept as pairs."""
    test_fraction: float = 0.2
    """The part of each client's rows that is tested on."""
    split: str = ""
    """A column that says "train" or "test" instead."""
    groups: str = ""
    """A column, such as a document: rows of one value are not divided."""
    missing: str | int | float = ""
    """A label that stands for "not labelled", beside empty cells."""
    impute: str = ""
    """ "mean" fills missing features; else they are an error."""
    scale: str = "pooled"
    """Numbers are standardised by all clients' rows, "pooled", by those of each "client", or "none"."""
    vocabulary: int = 10_000
    """Tokens at most, as of a model of texts."""
    min_count: int = 2
    """Least count of a word."""
    length: int = 128
    """Tokens of a text at most."""
    clean: tuple[str, ...] = CLEAN
    """Steps of cleaning of a text, in order; none: texts as they are."""
    words_sent: int = 0
    """Words that a client counts for the vocabulary at most; 0 for all."""
    pieces: bool = False
    """Tokens are pieces of words, by byte-pair encoding of the counts."""
    sha256: str = ""
    """Checksum of the file's bytes, by which a file that has changed is refused; empty: any content."""

    source: ClassVar[DataSource] = DataSource(
        name="tablefile",
        clients="any number",
        tasks=(),
        examples=None,
        address="",
        licence="that of the file",
        citation="",
    )

    def __post_init__(self) -> None:
        pairs = self.kinds.items() if isinstance(self.kinds, dict) else self.kinds
        object.__setattr__(self, "kinds", tuple((name, kind) for name, kind in pairs))
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "features", tuple(self.features))
        object.__setattr__(self, "clean", checked_steps(self.clean))
        for name, _ in self.kinds:
            if name not in self.tasks:
                raise ValueError(
                    f"TableFile: kinds names {shown(name)}, which is no task; the tasks are "
                    f"{', '.join(self.tasks) or 'none'}.{did_you_mean(name, self.tasks)}"
                )

    def load(self, seed: int, agreed: bytes | None = None) -> Federation:
        """The federation; ``agreed`` is what clients agreed on elsewhere."""
        with named_table(self.path):
            found = self._frame().load(seed, agreed)
        if found.prepared is None:
            return found
        return replace(found, prepared=replace(found.prepared, remake=partial(self.load, seed)))  # of the file, anew

    def frame(self) -> FrameData:
        """The table in memory.

        Raises:
            ValueError: as ``load``.
        """
        with named_table(self.path):
            return self._frame()

    def _frame(self) -> FrameData:
        return from_frame(
            read_table(self.path, self.sha256, self.client),
            self.client,
            {**dict.fromkeys(self.tasks), **dict(self.kinds)},
            self.features or None,
            self.text or None,
            test_fraction=self.test_fraction,
            split=self.split or None,
            groups=self.groups or None,
            missing=_code(self.missing),
            impute=self.impute,
            scale=self.scale,
            vocabulary=self.vocabulary,
            min_count=self.min_count,
            length=self.length,
            clean=self.clean,
            words_sent=self.words_sent,
            pieces=self.pieces,
        )


@contextmanager
def named_table(path: str) -> Iterator[None]:
    """Inside, errors begin with the file's path."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _code(missing: str | int | float) -> Any:
    """The label that stands for "not labelled": a number where it is one; None for none."""
    try:
        return None if missing == "" else float(missing)
    except ValueError:
        return missing


def checksum(path: str | Path) -> str:
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_table(path: str, sha256: str = "", client: str = "") -> Any:
    """A file as a table of pandas.

    Args:
        path: ends with .csv or .parquet.
        sha256: of the bytes that are wanted; empty for any.
        client: a column whose texts stay as they are: 007 is no 7.

    Raises:
        ValueError: another kind of file, one that memory does not hold, that has changed, or that is damaged or holds
            no row; two columns of one name, or one without a name.
        ImportError: pandas is missing, or pyarrow for Parquet.
        OSError: no such file.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"a table is a file that ends with {' or '.join(SUFFIXES)}, got {shown(path)}.")
    size, memory = os.path.getsize(path), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise ValueError(
            f"the file has {size / 1e9:.1f} GB and this machine {memory / 1e9:.1f} GB of memory, in which a table is "
            "read as a whole; keep fewer rows or columns, or give each node the rows of its own clients."
        )
    data = Path(path).read_bytes()
    if sha256 and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise ValueError(
            f"the file has changed: its SHA-256 was {sha256[:12]}… and is {found[:12]}…; give back the file that the "
            "run began with, or begin anew in another folder (--out)."
        )
    pandas = _pandas()
    if not data.strip():
        raise ValueError("the file is empty; a table has a line of names, and rows.")
    try:
        table = _csv(pandas, data, client) if suffix == ".csv" else pandas.read_parquet(io.BytesIO(data))
    except MemoryError:
        raise ValueError(
            f"memory does not hold the table of this file of {size / 1e9:.1f} GB; keep fewer rows or columns."
        ) from None
    except pandas.errors.EmptyDataError:
        table = ()
    except ImportError as error:
        raise ImportError(f"Parquet needs pyarrow: pip install 'fedmtl[frame]' ({error})") from None
    except (ValueError, OSError, pandas.errors.ParserError, pandas.errors.ParserWarning) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"the file is no table ({line[:200]}); save it again as {suffix[1:].upper()}.") from None
    if not len(table):
        raise ValueError("the file holds no row below its names.")
    return table


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError("Tables are read by pandas, which is missing: pip install 'fedmtl[frame]'") from None
    return pandas


def _csv(pandas: Any, data: bytes, client: str) -> Any:
    data = data.removeprefix(b"\xef\xbb\xbf")
    header = next(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
    names = [name.strip() for name in header]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise ValueError(f"its first line has {names.count(twice[0])} columns {twice[0]!r}; rename or drop all but one")
    kept = {place: str for place, name in enumerate(names) if name == client}
    places = range(len(names))
    with warnings.catch_warnings(action="error", category=pandas.errors.ParserWarning):  # rows that are too long
        table = pandas.read_csv(
            io.BytesIO(data),
            header=None,
            skiprows=1,
            names=places,
            dtype=kept,
            low_memory=False,
            index_col=False,
        )
    table.columns = names
    for place in [place for place, name in enumerate(names) if not name][::-1]:
        if place or not np.array_equal(table.iloc[:, 0].to_numpy(), np.arange(len(table))):
            raise ValueError(f"column {place + 1} of its first line has no name; name or drop it")
        table = table.iloc[:, 1:]
    if client in names and table[client].notna().all():
        texts = table[client]
        if len(texts) and all(re.fullmatch(r"0|[1-9]\d{0,8}", text) for text in texts.unique()):
            table[client] = texts.astype(np.int64)
    return table
