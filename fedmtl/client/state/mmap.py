"""Private state of a whole population in stacked arrays: a client's state is a row, read and written in place.

A file of rows is mapped into memory: only the rows of clients that have trained take space, a process that is killed
leaves what it has written, and all workers of a machine may hold the same files, each touching its own clients. What
the training of the newest version wrote over is kept in a journal (see ``rollback_journal``), so that it can run again
from the same states. A row's version is 0 while it is being written.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from fedmtl.client.state.base import LostState, StateError
from fedmtl.client.state.pinned import ARRAYS, Pinned
from fedmtl.client.state.rollback_journal import PriorState, RollbackJournal
from fedmtl.client.state.row_layout import Field, from_rows, row_layout, to_rows
from fedmtl.client.state.state_table import PIECE, StateTable, map_array, reserve_rows
from fedmtl.core.files import Folder
from fedmtl.protocol.best_round import NO_ROUND
from fedmtl.protocol.requests import START_ANEW


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
        """Copies of the best version's states, where a request has named one."""

    def load_rows(
        self,
        kind: str,
        clients: NDArray[np.int64],
        version: int,
        first: Callable[[NDArray[np.int64]], Any],
        since: NDArray[np.int64] | None = None,
    ) -> Any:
        """Load the newest states up to a version of the model, a tree of arrays [K, …].

        Args:
            kind: of states that have one structure.
            version: of the model that was sent.
            first: some of the K rows -> the first states of these clients, stacked.
            since: as in ``StateStore``.

        Raises:
            LostState: a client whose state is damaged, missing, or of a later version with nothing before it.
        """
        template = first(np.arange(min(1, len(clients))))
        fields, size = row_layout(template)
        if not size:
            return first(np.arange(len(clients)))
        table = self._table(kind, fields, size)
        place = np.searchsorted(self._clients, clients)
        versions = table.versions[place]
        usable = (versions > 0) & (versions <= version)
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
            copied = np.flatnonzero(ask & self._pinned(kind, place, version, anew)) if ask.any() else place[:0]
            if len(copied):
                pin = self._pins[kind]
                found[copied] = pin.versions[place[copied]]
                had = copied[found[copied] > 0]
                rows[had], fresh[had], ask[copied] = pin.rows[place[had]], False, False
            for k in np.flatnonzero(ask).tolist():
                try:
                    state = self._before(table, int(place[k]), version, int(clients[k]))
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
            rows[fresh] = to_rows(first(np.flatnonzero(fresh)), fields, size, int(fresh.sum()))
        return from_rows(rows, fields, template)

    def _pinned(self, kind: str, place: NDArray[np.int64], version: int, anew: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask of the states that are read from copies, which were made for this version.

        Raises:
            LostState: a copy that is damaged, but where that client may begin anew.
        """
        pin = self._pins.get(kind)
        if pin is None and self._folder is not None and self._folder.exists(f"{kind}.best-tags"):
            pin = self._pin(kind, self._tables[kind])
        if pin is None:
            return np.zeros(len(place), bool)
        copied = ~pin.lacking(version, place)
        some = np.flatnonzero(copied)
        damaged = some[pin.damaged(place[some])]
        if len(damaged) and not anew[damaged].all():
            lost = self._clients[place[damaged[~anew[damaged]]]]
            raise LostState(lost.tolist(), f"that of the best round, {version}, is damaged")
        copied[damaged] = False
        return copied

    def _before(self, table: StateTable, place: int, version: int, client: int) -> PriorState | None:
        """Return the prior state of a row that is damaged, half written or too new; None where there was none."""
        stored = int(table.versions[place])
        state = table.journal.lookup(place, version)
        if state is None and stored == 0:
            return None
        if state is None or (state.version == 0 and stored <= version):
            why = "is damaged" if stored <= version else f"is newer than version {version} of the model"
            raise LostState([client], f"that of round {stored} {why}, and what was before it is no longer kept")
        if state.version == 0:
            return None
        if state.sum != xxh3_64_intdigest(state.row.data):
            raise LostState([client], f"that of round {state.version} is damaged")
        if stored <= version:
            self._write(table, np.array([place]), state.version, state.row[None], np.array([state.sum], np.uint64))
        return state

    def save_rows(self, kind: str, clients: NDArray[np.int64], version: int, states: Any, keep: int = NO_ROUND) -> None:
        """Keep the states of K clients; what they were before this version stays until a later one is saved.

        And what they were at version ``keep`` stays, as in ``StateStore``.
        """
        fields, size = row_layout(states)
        if not size or not len(clients):
            return
        table = self._table(kind, fields, size)
        place = np.searchsorted(self._clients, clients)
        rows = to_rows(states, fields, size, len(clients))
        sums = np.array([xxh3_64_intdigest(row) for row in rows], np.uint64)
        reserve_rows(table, place, size)
        if keep != NO_ROUND:
            self._keep_best(kind, table, place, keep)
        table.journal.save(version, place, table.versions, table.sums, table.rows)
        self._write(table, place, version, rows, sums)

    def _keep_best(self, kind: str, table: StateTable, place: NDArray[np.int64], best: int) -> None:
        """Copy what the states were at version ``best``, of clients whose rows, or rows to undo, are written next."""
        pin, size = self._pin(kind, table), table.rows.shape[1]
        for block in table.journal.written_after(best):
            old = np.flatnonzero((block.versions <= best) & pin.lacking(best, block.places))
            had = old[old < len(block.rows)]
            reserve_rows(pin, block.places[had], size)
            pin.write(best, block.places[old], block.versions[old], block.sums[old], block.rows[had])
        old = place[(table.versions[place] <= best) & pin.lacking(best, place)]
        had = table.versions[old] > 0
        some = np.concatenate([old[had], old[~had]])
        reserve_rows(pin, old[had], size)
        pin.write(best, some, table.versions[some], table.sums[some], table.rows[old[had]])

    def _pin(self, kind: str, table: StateTable) -> Pinned:
        if kind not in self._pins:
            shapes = table.rows.shape, (len(self._clients),), (len(self._clients),), (len(self._clients),)
            dtypes = np.uint8, np.int64, np.uint64, np.int64
            made = [
                map_array(self._folder, self, f"{kind}.{name}", dtype, shape, whole=name != ARRAYS[0])
                for name, dtype, shape in zip(ARRAYS, dtypes, shapes, strict=True)
            ]
            (rows, file), (versions, _), (sums, _), (tags, _) = made
            self._pins[kind] = Pinned(rows, versions, sums, tags, file, np.zeros_like(table.reserved))
        return self._pins[kind]

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
            rows, file = map_array(self._folder, self, f"{kind}.rows", np.uint8, (count, size))
            self._tables[kind] = StateTable(
                fields,
                rows,
                map_array(self._folder, self, f"{kind}.versions", np.int64, (count,), whole=True)[0],
                map_array(self._folder, self, f"{kind}.sums", np.uint64, (count,), whole=True)[0],
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
