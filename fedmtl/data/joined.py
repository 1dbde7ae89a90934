"""The examples of many clients, end to end in arrays: no object a client, so that a million are loaded at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.disk import end_to_end, some_rows
from fedmtl.data.disk_open import kept
from fedmtl.data.roster import Roster, roster_of
from fedmtl.data.split import ClientData, Split


class JoinedRows(NamedTuple):
    """One split of K clients: the examples of client k are rows start[k] to start[k] + size[k] of arrays.

    The arrays may hold other rows too, and be those of several tables.
    """

    x: NDArray[Any]
    y: Mapping[str, NDArray[Any]]
    """The K clients' tasks -> labels."""
    start: NDArray[np.int64]
    size: NDArray[np.int64]

    def split(self, k: int) -> Split:
        """The examples of client k, without a copy."""
        rows = slice(int(self.start[k]), int(self.start[k] + self.size[k]))
        return Split(some_rows(self.x, rows), {task: labels[rows] for task, labels in self.y.items()})

    def select(self, clients: NDArray[Any]) -> "JoinedRows":
        """Those of some of the clients, without a copy."""
        return self._replace(start=self.start[clients], size=self.size[clients])

    def numbers(self) -> NDArray[np.int64]:
        """The rows of all clients' examples, client after client."""
        ends = np.cumsum(self.size)
        return np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.start - ends + self.size, self.size)


class Chosen(Sequence[NDArray[Any]]):
    """Some rows of an array in a few pieces, each copied when it is asked for: megabytes, however many rows there are.

    There is at least one piece, which may have no row.
    """

    def __init__(self, array: NDArray[Any], rows: NDArray[np.int64]) -> None:
        self._array, self._rows = array, rows
        self._step = max(1, _AT_ONCE // max(1, array[:1].nbytes), -(-len(rows) // _PIECES))

    def __len__(self) -> int:
        return max(1, -(-len(self._rows) // self._step))

    def __getitem__(self, piece: Any) -> Any:
        if isinstance(piece, slice):
            return [self[k] for k in range(len(self))[piece]]
        start = range(len(self))[piece] * self._step
        return self._array[self._rows[start : start + self._step]]


_AT_ONCE = 2**23
_PIECES = 1000


class ClientTable(NamedTuple):
    """The clients of one set of tasks."""

    owned: TaskSet
    clients: NDArray[np.int64]
    """Ascending, [K]."""
    train: JoinedRows
    test: JoinedRows


class ClientIndex:
    """Index of clients: the place of each among tables of clients."""

    def __init__(self, tables: Sequence[NDArray[np.int64]]) -> None:
        ids = np.concatenate(tables) if tables else np.zeros(0, np.int64)
        order = np.argsort(ids, kind="stable")
        counts = [len(clients) for clients in tables]
        self.clients: NDArray[np.int64] = ids[order]
        """All of them, ascending."""
        self.table = np.repeat(np.arange(len(counts)), counts)[order]
        """Table of each client."""
        self.row = np.concatenate([np.arange(count) for count in counts] or [ids])[order]
        """And its row there."""

    def locate(self, clients: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Table and row of each client.

        Raises:
            KeyError: a client that is in no table; the error holds its id.
        """
        place = np.searchsorted(self.clients, clients)
        place[place == len(self.clients)] = 0
        absent = self.clients[place] != clients if len(self.clients) else np.ones(len(clients), bool)
        if absent.any():
            raise KeyError(int(clients[absent][0]))
        return self.table[place], self.row[place]


class Joined(Mapping[ClientId, ClientData]):
    """Clients whose examples are in arrays. Read as a mapping, it shows each client's without a copy."""

    def __init__(self, tables: Sequence[ClientTable]) -> None:
        self.tables = sorted(tables, key=lambda table: table.owned)
        self._places = ClientIndex([table.clients for table in self.tables])

    @property
    def clients(self) -> NDArray[np.int64]:
        """Ascending."""
        return self._places.clients

    @property
    def roster(self) -> Roster:
        return roster_of(self.clients, [table.owned for table in self.tables], self._places.table)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Training and test examples of each client, by client, [K, 2]."""
        sizes = [np.stack([table.train.size, table.test.size], 1) for table in self.tables]
        ends = np.cumsum([0, *map(len, sizes)])
        return np.concatenate([np.zeros((0, 2), np.int64), *sizes])[ends[self._places.table] + self._places.row]

    def select(self, clients: NDArray[np.int64]) -> "Joined":
        """Some of the clients, without a copy; tables that none of them is in are left out."""
        tables, rows = self._places.locate(np.sort(clients))
        found = []
        for index, table in enumerate(self.tables):
            some = rows[tables == index]
            if len(some):
                parts = table.train.select(some), table.test.select(some)
                found.append(ClientTable(table.owned, table.clients[some], *parts))
        return Joined(found)

    def with_inputs(self, convert: Callable[[list[NDArray[Any]]], list[NDArray[Any]]]) -> "Joined":
        """The clients with other inputs.

        Args:
            convert: all arrays of inputs, each once -> as many in their place.
        """
        arrays = {id(rows.x): rows.x for table in self.tables for rows in (table.train, table.test)}
        converted = dict(zip(arrays, convert(list(arrays.values())), strict=True))

        def other(rows: JoinedRows) -> JoinedRows:
            return rows._replace(x=converted[id(rows.x)])

        return Joined([table._replace(train=other(table.train), test=other(table.test)) for table in self.tables])

    def __getitem__(self, client: ClientId) -> ClientData:
        (table,), (row,) = self._places.locate(np.array([client]))
        return ClientData(self.tables[table].train.split(row), self.tables[table].test.split(row))

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self.clients.tolist())

    def __len__(self) -> int:
        return len(self.clients)


def joined(tables: Iterable[tuple[TaskSet, NDArray[np.int64], JoinedRows, JoinedRows]]) -> Joined:
    """Clients from (tasks, client ids, training rows, test rows), several of which may have the same tasks and arrays.

    Ids may come in any order.
    """
    by_tasks: dict[TaskSet, list[tuple[NDArray[np.int64], JoinedRows, JoinedRows]]] = {}
    for owned, clients, train, test in tables:
        if len(clients):
            train, test = (rows._replace(x=kept(rows.x)) for rows in (train, test))
            by_tasks.setdefault(tuple(owned), []).append((np.asarray(clients, np.int64), train, test))
    found = []
    for owned, parts in by_tasks.items():
        ids, trains, tests = (list(each) for each in zip(*parts, strict=True))
        clients = np.concatenate(ids)
        train, test = _together(trains), _together(tests)
        if (clients[1:] <= clients[:-1]).any():
            order = np.argsort(clients, kind="stable")
            clients, train, test = clients[order], train.select(order), test.select(order)
        found.append(ClientTable(owned, clients, train, test))
    return Joined(found)


def _together(parts: list[JoinedRows]) -> JoinedRows:
    """The clients of several parts; the arrays are joined where they are not the same."""
    first = parts[0]
    if any(rows.x is not first.x or any(rows.y[task] is not first.y[task] for task in first.y) for rows in parts):
        before = np.cumsum([0, *(len(rows.x) for rows in parts)])
        parts = [rows._replace(start=rows.start + shift) for rows, shift in zip(parts, before, strict=False)]
        y = {task: np.concatenate([rows.y[task] for rows in parts]) for task in first.y}
        first = JoinedRows(end_to_end([rows.x for rows in parts]), y, first.start, first.size)
    return first._replace(
        start=np.concatenate([rows.start for rows in parts]), size=np.concatenate([rows.size for rows in parts])
    )


def some_of(clients: Mapping[ClientId, ClientData], ids: NDArray[np.int64]) -> Mapping[ClientId, ClientData]:
    """Some of the clients, without a copy of their examples."""
    if isinstance(clients, Joined):
        return clients.select(ids)
    return {client: clients[client] for client in ids.tolist()}
