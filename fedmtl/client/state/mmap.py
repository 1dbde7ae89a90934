"""Private state of a whole population in stacked arrays: a client's state is a row, read and written in place.

A file of rows is mapped into memory: only the rows of clients that have trained take space, a process that is killed
leaves what it has written, and all workers of a machine may hold the same files, each touching its own clients. What
the last round wrote over is kept apart (see ``undo``), so that it can be run again from where it started the first
time. A row's version is 0 while it is being written.
"""

import math
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from xxhash import xxh3_64_intdigest

from fedmtl.client.state.files import LostState, StateError
from fedmtl.client.state.pinned import ARRAYS, Pinned
from fedmtl.client.state.rollback_journal import PriorState, RollbackJournal
from fedmtl.core.file_errors import named_errors
from fedmtl.core.files import Folder, reserve
from fedmtl.core.trees import tree_leaves, tree_unflatten
from fedmtl.protocol.best_round import NO_ROUND
from fedmtl.protocol.requests import START_ANEW

_POPULATION = 2**27
"""Bytes of a file from which on its rows are read by cohorts that are far apart: pages beside them are of no use."""


PIECE = 2**16
"""Bytes of a file of rows whose space is taken at once: fewer calls than rows, and little more than the rows need."""


class Field(NamedTuple):
    """One leaf of a state, in a row."""

    start: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    tensor: bool


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


class MmapStateStore:
    """Versions of private states in memory, or in files that are mapped into it.

    Args:
        clients: ids of all clients of the federation, ascending, so that every worker finds a row at the same place.
        folder: for the files; None keeps all in memory. What is written survives the process, not a loss of power.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, clients: NDArray[np.int64], folder: str | Path | None = None) -> None:
        self._clients = clients
        self._folder = None if folder is None else Folder(Path(folder))
        if self._folder is not None:
            self._folder.root.mkdir(parents=True, exist_ok=True)
        self._tables: dict[str, StateTable] = {}
        self._pins: dict[str, Pinned] = {}
        """Copies of the best round's states, where a round has named one."""

    def load_rows(
        self,
        kind: str,
        clients: NDArray[np.int64],
        before: int,
        first: Callable[[NDArray[np.int64]], Any],
        since: NDArray[np.int64] | None = None,
    ) -> Any:
        """The newest states of versions before ``before``, a tree of arrays [K, …].

        Args:
            kind: of states that have one structure.
            first: some of the K rows -> the first states of these clients, stacked.
            since: as in ``Store``.

        Raises:
            LostState: a client whose state is damaged, missing, or of a later round with nothing before it.
        """
        template = first(np.arange(min(1, len(clients))))
        fields, size = _layout(template)
        if not size:
            return first(np.arange(len(clients)))
        table = self._table(kind, fields, size)
        place = np.searchsorted(self._clients, clients)
        versions = table.versions[place]
        usable = (versions > 0) & (versions < before)
        anew = np.zeros(len(clients), bool) if since is None else since == START_ANEW
        unread = np.flatnonzero(usable & ~table.trusted[place])
        good = [table.sums[row] == xxh3_64_intdigest(table.rows[row].data) for row in place[unread].tolist()]
        table.trusted[place[unread]] = good
        damaged = unread[~np.array(good, bool)]
        if len(damaged) and not anew[damaged].all():
            lost = damaged[~anew[damaged]]
            raise LostState(clients[lost].tolist(), f"that of round {versions[lost[0]]} is damaged")
        usable[damaged] = False
        fresh = ~usable
        rows = np.empty((len(place), size), np.uint8)
        rows[usable] = table.rows[place[usable]]  # no page of a file is touched for a client that never trained
        found = np.where(usable, versions, 0)
        if fresh.any():
            ask = fresh & (table.journal.contains(place) | (versions > 0))
            copied = np.flatnonzero(ask & self._pinned(kind, place, before, anew)) if ask.any() else place[:0]
            if len(copied):
                pin = self._pins[kind]
                found[copied] = pin.versions[place[copied]]
                had = copied[found[copied] > 0]
                rows[had], fresh[had], ask[copied] = pin.rows[place[had]], False, False
            for k in np.flatnonzero(ask).tolist():
                try:
                    state = self._before(table, int(place[k]), before, int(clients[k]))
                except LostState:
                    if not anew[k]:
                        raise
                    state = None
                if state is not None:
                    fresh[k], rows[k], found[k] = False, state.row, state.version
        if since is not None and (found < since).any():
            lost = np.flatnonzero(found < since)
            where = "the memory of its node" if self._folder is None else repr(str(self._folder.root))
            why = f"client {clients[lost[0]]} trained in round {since[lost[0]]}, and no state since then is in {where}"
            raise LostState(clients[lost].tolist(), why)
        if fresh.any():
            rows[fresh] = _pack(first(np.flatnonzero(fresh)), fields, size, int(fresh.sum()))
        return _unpack(rows, fields, template)

    def _pinned(self, kind: str, place: NDArray[np.int64], before: int, anew: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which states are read from copies, which were made for the round before.

        Raises:
            LostState: a copy that is damaged, but where that client may begin anew.
        """
        pin = self._pins.get(kind)
        if pin is None and self._folder is not None and self._folder.exists(f"{kind}.best-tags"):
            pin = self._pin(kind, self._tables[kind])
        if pin is None:
            return np.zeros(len(place), bool)
        copied = ~pin.lacking(before - 1, place)
        some = np.flatnonzero(copied)
        damaged = some[pin.damaged(place[some])]
        if len(damaged) and not anew[damaged].all():
            lost = self._clients[place[damaged[~anew[damaged]]]]
            raise LostState(lost.tolist(), f"that of the best round, {before - 1}, is damaged")
        copied[damaged] = False
        return copied

    def _before(self, table: StateTable, place: int, before: int, client: int) -> PriorState | None:
        """A row that is damaged, half written or too new, as it was before; None where there was none."""
        version = int(table.versions[place])
        state = table.journal.lookup(place, before)
        if state is None and version == 0:
            return None
        if state is None or (state.version == 0 and version < before):
            why = "is damaged" if version < before else f"is no start for round {before}"
            raise LostState([client], f"that of round {version} {why}, and what was before it is no longer kept")
        if state.version == 0:
            return None
        if state.sum != xxh3_64_intdigest(state.row.data):
            raise LostState([client], f"that of round {state.version} is damaged")
        if version < before:
            self._write(table, np.array([place]), state.version, state.row[None], np.array([state.sum], np.uint64))
        return state

    def save_rows(self, kind: str, clients: NDArray[np.int64], version: int, states: Any, best: int = NO_ROUND) -> None:
        """Keep the states of K clients; what they were before this version stays until a later one is saved.

        And what they were after round ``best`` stays, as in ``Store``.
        """
        fields, size = _layout(states)
        if not size or not len(clients):
            return
        table = self._table(kind, fields, size)
        place = np.searchsorted(self._clients, clients)
        rows = _pack(states, fields, size, len(clients))
        sums = np.array([xxh3_64_intdigest(row) for row in rows], np.uint64)
        self._reserve(table, place, size)
        if best != NO_ROUND:
            self._keep_best(kind, table, place, best)
        table.journal.save(version, place, table.versions, table.sums, table.rows)
        self._write(table, place, version, rows, sums)

    def _keep_best(self, kind: str, table: StateTable, place: NDArray[np.int64], best: int) -> None:
        """Copy what the states were after round ``best``, of clients whose rows, or rows to undo, are written next."""
        pin, size = self._pin(kind, table), table.rows.shape[1]
        for block in table.journal.written_after(best):
            old = np.flatnonzero((block.versions <= best) & pin.lacking(best, block.places))
            had = old[old < len(block.rows)]
            self._reserve(pin, block.places[had], size)
            pin.write(best, block.places[old], block.versions[old], block.sums[old], block.rows[had])
        old = place[(table.versions[place] <= best) & pin.lacking(best, place)]
        had = table.versions[old] > 0
        some = np.concatenate([old[had], old[~had]])
        self._reserve(pin, old[had], size)
        pin.write(best, some, table.versions[some], table.sums[some], table.rows[old[had]])

    def _pin(self, kind: str, table: StateTable) -> Pinned:
        if kind not in self._pins:
            shapes = table.rows.shape, (len(self._clients),), (len(self._clients),), (len(self._clients),)
            dtypes = np.uint8, np.int64, np.uint64, np.int64
            made = [
                self._array(f"{kind}.{name}", dtype, shape, whole=name != ARRAYS[0])
                for name, dtype, shape in zip(ARRAYS, dtypes, shapes, strict=True)
            ]
            (rows, file), (versions, _), (sums, _), (tags, _) = made
            self._pins[kind] = Pinned(rows, versions, sums, tags, file, np.zeros_like(table.reserved))
        return self._pins[kind]

    def _reserve(self, table: StateTable | Pinned, place: NDArray[np.int64], size: int) -> None:
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

    def _write(
        self,
        table: StateTable,
        place: NDArray[np.int64],
        version: int,
        rows: NDArray[np.uint8],
        sums: NDArray[np.uint64],
    ) -> None:
        table.versions[place] = 0
        table.rows[place] = rows
        table.sums[place] = sums
        table.trusted[place] = True
        table.versions[place] = version

    def _table(self, kind: str, fields: list[Field], size: int) -> StateTable:
        if kind not in self._tables:
            count = len(self._clients)
            rows, file = self._array(f"{kind}.rows", np.uint8, (count, size))
            self._tables[kind] = StateTable(
                fields,
                rows,
                self._array(f"{kind}.versions", np.int64, (count,), whole=True)[0],
                self._array(f"{kind}.sums", np.uint64, (count,), whole=True)[0],
                np.zeros(count, bool),
                RollbackJournal(self._folder, kind, size),
                file,
                np.zeros(-(-count * size // PIECE), bool),
            )
        if self._tables[kind].fields != fields:
            before, now = ([(str(f.dtype), f.shape) for f in which] for which in (self._tables[kind].fields, fields))
            raise StateError(
                f"A client's private state keeps the types and shapes of its arrays, which were {before}, got {now}; "
                "return from local_update what init_client began with."
            )
        return self._tables[kind]

    def _array(
        self, name: str, dtype: Any, shape: tuple[int, ...], whole: bool = False
    ) -> tuple[NDArray[Any], FileIO | None]:
        """Zeros, or what the file holds, and the file; pages that are not written take no space but for a ``whole``."""
        if self._folder is None:
            return np.zeros(shape, dtype), None
        size = math.prod(shape) * np.dtype(dtype).itemsize
        path = self._folder.path(name)
        opened = self._folder.open(name, os.O_RDWR | os.O_CREAT, 0o600)
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
        finalize(self, file.close)
        if size > _POPULATION:
            with suppress(OSError, ValueError, AttributeError):  # another system
                mapped._mmap.madvise(mmap.MADV_RANDOM)  # pyright: ignore[reportAttributeAccessIssue]
        return np.asarray(mapped), file


def _layout(states: Any) -> tuple[list[Field], int]:
    """Where each leaf of a stacked tree is in a row, each at a multiple of 8, and the row's bytes."""
    fields, end = [], 0
    for leaf in tree_leaves(states):
        tensor = isinstance(leaf, Tensor)
        array = leaf.detach().numpy() if tensor else np.asarray(leaf)
        count = math.prod(array.shape[1:]) * array.dtype.itemsize
        fields.append(Field(end, end + count, array.dtype, array.shape[1:], tensor))
        end += -(-count // 8) * 8
    return fields, end


def _pack(states: Any, fields: list[Field], size: int, count: int) -> NDArray[np.uint8]:
    rows = np.zeros((count, size), np.uint8)
    for leaf, field in zip(tree_leaves(states), fields, strict=True):
        array = leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
        rows[:, field.start : field.end].view(field.dtype)[:] = array.reshape(count, math.prod(field.shape))
    return rows


def _unpack(rows: NDArray[np.uint8], fields: list[Field], template: Any) -> Any:
    found = []
    for field in fields:
        array = rows[:, field.start : field.end].view(field.dtype).reshape(len(rows), *field.shape)
        found.append(torch.from_numpy(array) if field.tensor else array)
    return tree_unflatten(template, found)
