"""Rollback journal: rows as they were before the newest version was written, so that its training can run again.

A server sends version v of the model only after it has kept all that made it. So what may run again is the training
that makes the newest version alone, and the rows of its cohort are all that must be there twice. They are kept in
memory, and where rows are in files, in a file of this process beside them. It is written before any row is, each
version over the one before; a process that is killed leaves it to those that come after, whose clients may be others.
"""

import os
import struct
from contextlib import suppress
from io import FileIO
from typing import NamedTuple
from uuid import uuid4
from weakref import finalize

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64, xxh3_64_intdigest

from fedmtl.core.file_errors import named_errors
from fedmtl.core.files import Folder, write_all

_HEAD = struct.Struct("<QqqqQ")  # checksum of the rest of the block, version, rows, rows with a state, bytes of a row


class PriorState(NamedTuple):
    """A client's state before the version was written."""

    version: int
    """0: it had none."""
    sum: int
    row: NDArray[np.uint8]


class JournalBlock(NamedTuple):
    """The rows that one call wrote over."""

    places: NDArray[np.int64]
    """Places of the rows; those with a state come first."""
    versions: NDArray[np.int64]
    sums: NDArray[np.uint64]
    rows: NDArray[np.uint8]
    """The rows that had a state, [n, bytes]."""


class RollbackJournal:
    """Journal of the newest version, for states of one kind.

    Args:
        folder: of the rows' files; None keeps this in memory too.
        kind: which names the files.
        size: bytes of a row.
    """

    def __init__(self, folder: Folder | None, kind: str, size: int) -> None:
        self._folder = folder
        self._size = size
        self._version = 0
        self._blocks: list[JournalBlock] = []
        self._file: FileIO | None = None
        # A name for each process and version: others may delete it when that version is over.
        self._stem = f"{kind}.undo-{uuid4().hex}"
        others = [] if folder is None else [name for name in folder.names() if name.startswith(f"{kind}.undo-")]
        self._left = {} if folder is None else {name: _read(folder, name, size) for name in others}
        """File -> version and blocks of processes before, and of those beside."""

    def save(
        self,
        version: int,
        places: NDArray[np.int64],
        versions: NDArray[np.int64],
        sums: NDArray[np.uint64],
        rows: NDArray[np.uint8],
    ) -> None:
        """Save some rows that are about to be written, except those that are in the journal already.

        Args:
            version: that is written.
            places: of the rows.
            versions: of all clients.
            sums: of all clients.
            rows: of all clients.
        """
        if version != self._version:
            self._begin(version, versions)
        places = places[~self.contains(places, version)]
        had = versions[places] > 0
        some = np.concatenate([places[had], places[~had]])
        block = JournalBlock(some, versions[some], sums[some], rows[places[had]])
        self._blocks.append(block)
        if self._file is not None:
            check = xxh3_64()
            for array in block:
                check.update(array.data)
            head = _HEAD.pack(check.intdigest(), version, len(some), len(block.rows), self._size)
            with named_errors(self._name(version) if self._folder is None else self._folder.path(self._name(version))):
                write_all(self._file.fileno(), head)
                for array in block:
                    write_all(self._file.fileno(), array.reshape(-1).view(np.uint8))

    def contains(self, places: NDArray[np.int64], version: int | None = None) -> NDArray[np.bool_]:
        """Return a mask of the rows that are in the journal, of one version or of any."""
        known = [block.places for block in self._all(version)]
        return np.isin(places, np.concatenate(known)) if known else np.zeros(len(places), bool)

    def lookup(self, place: int, version: int) -> PriorState | None:
        """Return the newest state of a row up to a version; None where no version in the journal has written it."""
        found = None
        for block in self._all():
            for row in np.flatnonzero((block.places == place) & (block.versions <= version)).tolist():
                prior = int(block.versions[row])
                if found is None or prior > found.version:
                    content = block.rows[row] if prior else np.zeros(self._size, np.uint8)
                    found = PriorState(prior, int(block.sums[row]), content)
        return found

    def written_after(self, version: int) -> list[JournalBlock]:
        """Return the blocks of later versions, by version: the first block of a row has it as ``version`` left it."""
        blocks = [(self._version, self._blocks), *self._left.values()]
        return [block for of, some in sorted(blocks, key=lambda pair: pair[0]) if of > version for block in some]

    def _all(self, version: int | None = None) -> list[JournalBlock]:
        """Return the blocks of one version or of all."""
        blocks = list(self._blocks)
        for other, left in self._left.values():
            blocks += left if version in (None, other) else []
        return blocks

    def _begin(self, version: int, versions: NDArray[np.int64]) -> None:
        """Drop the blocks of the version before, except rows that a killed process has left half written."""
        if self._folder is not None:
            self._file = self._of_version(version, self._folder)
        self._version, self._blocks = version, []
        for name, (other, left) in list(self._left.items()):
            if other < version and not any((versions[block.places[: len(block.rows)]] == 0).any() for block in left):
                if self._folder is not None:
                    self._folder.remove(name)
                del self._left[name]

    def _name(self, version: int) -> str:
        return f"{self._stem}-{version}"

    def _of_version(self, version: int, folder: Folder) -> FileIO:
        """Return the file of a version, to be written from its start: a new name costs a tenth of a new file."""
        name = self._name(version)
        if self._file is not None:
            with suppress(FileNotFoundError):
                folder.path(self._name(self._version)).rename(folder.path(name))
                self._file.seek(0)
                return self._file
        file = os.fdopen(folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
        finalize(self, file.close)
        return file


def _read(folder: Folder, name: str, size: int) -> tuple[int, list[JournalBlock]]:
    """Read the version and the blocks of a file; an unfinished block of a killed process is dropped: no row follows."""
    try:
        data = folder.read(name)
    except FileNotFoundError:  # another worker has gone on
        return 0, []
    at, number, blocks = 0, 0, []
    while len(data) - at >= _HEAD.size:
        check, of, count, with_state, bytes_of_row = _HEAD.unpack_from(data, at)
        if blocks and of != number:  # left from a version before
            break
        number, length = of, 24 * count + with_state * size
        if bytes_of_row != size or not 0 <= with_state <= count or length > len(data) - at - _HEAD.size:
            break  # numbers of a damaged head, which may be any
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        if xxh3_64_intdigest(body) != check:
            break
        places, versions = (np.frombuffer(body, np.int64, count, 8 * count * part) for part in range(2))
        sums = np.frombuffer(body, np.uint64, count, 16 * count)
        rows = np.frombuffer(body, np.uint8, with_state * size, 24 * count).reshape(with_state, size)
        blocks.append(JournalBlock(places, versions, sums, rows))
        at += _HEAD.size + len(body)
    return number, blocks
