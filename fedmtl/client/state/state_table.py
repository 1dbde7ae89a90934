"""Arrays of private states with a row a client, in memory or in files that are mapped into it."""

import math
import mmap
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateError
from fedmtl.client.state.pinned import Pinned
from fedmtl.client.state.rollback_journal import RollbackJournal
from fedmtl.client.state.row_layout import Field
from fedmtl.core.files import Folder, named_errors, reserve

_POPULATION = 2**27
"""Bytes of a file from which on its rows are read by cohorts that are far apart: pages beside them are of no use."""


PIECE = 2**16
"""Bytes of a file of rows whose space is taken at once: fewer calls than rows, and little more than the rows need."""


class StateTable(NamedTuple):
    """The states of one structure."""

    fields: list[Field]
    rows: NDArray[np.uint8]
    """[clients, bytes]."""
    versions: NDArray[np.int64]
    """[clients], 0: empty."""
    sums: NDArray[np.uint64]
    """[clients] checksums."""
    trusted: NDArray[np.bool_]
    """[clients], whether this process has written it or looked at its checksum."""
    journal: RollbackJournal
    file: FileIO | None
    """The file of the rows."""
    reserved: NDArray[np.bool_]
    """Pieces of that file, of ``PIECE`` bytes each, whose space is taken."""


def map_array(
    folder: Folder | None, owner: Any, name: str, dtype: Any, shape: tuple[int, ...], whole: bool = False
) -> tuple[NDArray[Any], FileIO | None]:
    """Zeros, or what the file holds, and the file; pages that are not written take no space but for a ``whole``."""
    if folder is None:
        return np.zeros(shape, dtype), None
    size = math.prod(shape) * np.dtype(dtype).itemsize
    path = folder.path(name)
    opened = folder.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    file = FileIO(path, "r+b", opener=lambda *_: opened)
    found = file.seek(0, 2)
    if found not in (0, size):
        file.close()
        raise StateError(
            f"{path} has {found} bytes where {size} are expected: it was written for other clients or another "
            "model. Use another folder, or go back to that experiment."
        )
    with named_errors(path):
        file.truncate(size)
        if whole:
            reserve(file.fileno(), 0, size)
        mapped = np.memmap(file, dtype, "r+", shape=shape)
    finalize(owner, file.close)
    if size > _POPULATION:
        with suppress(OSError, ValueError, AttributeError):  # another system
            mapped._mmap.madvise(mmap.MADV_RANDOM)  # pyright: ignore[reportAttributeAccessIssue]
    return np.asarray(mapped), file


def reserve_rows(table: StateTable | Pinned, place: NDArray[np.int64], size: int) -> None:
    """Take the space of rows before one of them is touched."""
    if table.file is None or not len(place):
        return
    firsts, lasts = place * size // PIECE, (place * size + size - 1) // PIECE
    steps = range(int((lasts - firsts).max()) + 1)
    pieces = np.unique(np.concatenate([np.minimum(firsts + step, lasts) for step in steps]))
    missing = pieces[~table.reserved[pieces]]
    if not len(missing):
        return
    breaks = np.flatnonzero(np.diff(missing) > 1)
    begins = missing[np.concatenate([[0], breaks + 1])] * PIECE
    ends = np.minimum((missing[np.concatenate([breaks, [-1]])] + 1) * PIECE, table.rows.size)
    with named_errors(Path(str(table.file.name))):
        descriptor = table.file.fileno()
        for start, end in zip(begins.tolist(), ends.tolist(), strict=True):
            reserve(descriptor, start, end - start)
    table.reserved[missing] = True
