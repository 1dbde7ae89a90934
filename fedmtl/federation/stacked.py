"""Private state of a whole population in stacked arrays: a client's state is a row, read and written in place.

A file of rows is mapped into memory: only the rows of clients that have trained take space, a process that is killed
leaves what it has written, and all workers of a machine may hold the same files, each touching its own clients. Each
row has two places, so that a round that is run again starts from where it started the first time (see ``store``):
the place of the version before is never overwritten, and the version of the other is written last.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from xxhash import xxh3_64_intdigest

from fedmtl.federation.store import StateError
from fedmtl.trees import leaves, rebuild


class Field(NamedTuple):
    """One leaf of a state, in a row."""

    start: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    tensor: bool


class Table(NamedTuple):
    """The states of one structure."""

    fields: list[Field]
    rows: NDArray[np.uint8]
    """[clients, 2, bytes]."""
    versions: NDArray[np.int64]
    """[clients, 2], 0: empty."""
    sums: NDArray[np.uint64]
    """[clients, 2] checksums."""
    trusted: NDArray[np.bool_]
    """[clients, 2], whether this process has written it or looked at its checksum."""


class StackedStore:
    """Versions of private states in memory, or in files that are mapped into it.

    Args:
        clients: ids of all clients of the federation, ascending, so that every worker finds a row at the same place.
        folder: for the files; None keeps all in memory. What is written survives the process, not a loss of power.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, clients: NDArray[np.int64], folder: str | Path | None = None) -> None:
        self._clients = clients
        self._folder = None if folder is None else Path(folder)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._tables: dict[str, Table] = {}

    def load_rows(
        self, kind: str, clients: NDArray[np.int64], before: int, first: Callable[[NDArray[np.int64]], Any]
    ) -> Any:
        """The newest states of versions before ``before``, a tree of arrays [K, …].

        Args:
            kind: of states that have one structure.
            first: some of the K rows -> the first states of these clients, stacked.

        Raises:
            StateError: a client whose every version is damaged.
        """
        template = first(np.arange(min(1, len(clients))))
        fields, size = _layout(template)
        if not size:
            return first(np.arange(len(clients)))
        table = self._table(kind, fields, size)
        place = np.searchsorted(self._clients, clients)
        usable = np.where(table.versions[place] < before, table.versions[place], 0)
        slot = usable.argmax(axis=1)
        for k in np.flatnonzero((usable.max(axis=1) > 0) & ~table.trusted[place, slot]).tolist():
            slot[k] = self._verified(table, place[k], usable[k], clients[k])
        rows = table.rows[place, slot]
        fresh = np.flatnonzero(usable.max(axis=1) == 0)
        if len(fresh):
            rows[fresh] = _pack(first(fresh), fields, size, len(fresh))
        return _unpack(rows, fields, template)

    def _verified(self, table: Table, place: int, usable: NDArray[np.int64], client: int) -> int:
        """The slot of a client's newest version whose checksum fits."""
        damaged = []
        for slot in np.argsort(-usable).tolist():
            if usable[slot] <= 0:
                continue
            if table.sums[place, slot] == xxh3_64_intdigest(table.rows[place, slot]):
                table.trusted[place, slot] = True
                if damaged:  # its place is the next to be written
                    table.versions[place, 1 - slot] = 0
                return slot
            damaged.append(int(usable[slot]))
            warnings.warn(
                f"Client {client}, state of round {usable[slot]}: its bytes do not fit their checksum: damaged.",
                stacklevel=3,
            )
        raise StateError(f"No stored state of client {client} can be used: those of rounds {damaged} are damaged.")

    def save_rows(self, kind: str, clients: NDArray[np.int64], version: int, states: Any) -> None:
        """Keep the states of K clients; of what is older, a client's newest version stays."""
        fields, size = _layout(states)
        if not size or not len(clients):
            return
        table = self._table(kind, fields, size)
        place = np.searchsorted(self._clients, clients)
        known = table.versions[place]
        slot = 1 - np.where(known < version, known, -1).argmax(axis=1)
        rows = _pack(states, fields, size, len(clients))
        table.versions[place, slot] = 0
        table.rows[place, slot] = rows
        table.sums[place, slot] = [xxh3_64_intdigest(row) for row in rows]
        table.trusted[place, slot] = True
        table.versions[place, slot] = version

    def _table(self, kind: str, fields: list[Field], size: int) -> Table:
        if kind not in self._tables:
            count = len(self._clients)
            self._tables[kind] = Table(
                fields,
                self._array(f"{kind}.rows", np.uint8, (count, 2, size)),
                self._array(f"{kind}.versions", np.int64, (count, 2)),
                self._array(f"{kind}.sums", np.uint64, (count, 2)),
                np.zeros((count, 2), bool),
            )
        if self._tables[kind].fields != fields:
            before, now = ([(str(f.dtype), f.shape) for f in which] for which in (self._tables[kind].fields, fields))
            raise StateError(
                f"A client's private state keeps the types and shapes of its arrays, which were {before}, got {now}; "
                "return from local_update what init_client began with."
            )
        return self._tables[kind]

    def _array(self, name: str, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """Zeros, or what the file holds; pages that nobody has written take no space."""
        if self._folder is None:
            return np.zeros(shape, dtype)
        path = self._folder / name
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with open(path, "ab") as file:
            found = file.seek(0, 2)
            if found not in (0, size):
                raise StateError(
                    f"{path} has {found} bytes where {size} are expected: it was written for other clients or another "
                    "model. Use another folder, or go back to that experiment."
                )
            file.truncate(size)
        return np.asarray(np.memmap(path, dtype, "r+", shape=shape))


def _layout(states: Any) -> tuple[list[Field], int]:
    """Where each leaf of a stacked tree is in a row, each at a multiple of 8, and the row's bytes."""
    fields, end = [], 0
    for leaf in leaves(states):
        tensor = isinstance(leaf, Tensor)
        array = leaf.detach().numpy() if tensor else np.asarray(leaf)
        count = int(np.prod(array.shape[1:])) * array.dtype.itemsize
        fields.append(Field(end, end + count, array.dtype, array.shape[1:], tensor))
        end += -(-count // 8) * 8
    return fields, end


def _pack(states: Any, fields: list[Field], size: int, count: int) -> NDArray[np.uint8]:
    rows = np.zeros((count, size), np.uint8)
    for leaf, field in zip(leaves(states), fields, strict=True):
        array = leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
        rows[:, field.start : field.end].view(field.dtype)[:] = array.reshape(count, int(np.prod(field.shape)))
    return rows


def _unpack(rows: NDArray[np.uint8], fields: list[Field], template: Any) -> Any:
    found = []
    for field in fields:
        array = rows[:, field.start : field.end].view(field.dtype).reshape(len(rows), *field.shape)
        found.append(torch.from_numpy(array) if field.tensor else array)
    return rebuild(template, found)
