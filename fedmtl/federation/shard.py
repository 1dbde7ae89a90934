"""The data of the clients that live on one node: resident, those of one set of tasks end to end in one array each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.data.base import ClientData, Split
from fedmtl.optim import epoch_index
from fedmtl.types import Batch, ClientId, TaskSet


class Rows(NamedTuple):
    """One split of K clients: client k's examples are rows start[k] to start[k] + size[k]."""

    x: Tensor
    y: Mapping[str, Tensor]
    start: NDArray[np.int64]
    size: NDArray[np.int64]

    def batches(
        self, clients: NDArray[np.int64], order: NDArray[np.int64] | None, batch_size: int | None
    ) -> list[Batch]:
        """One epoch of k of the clients, as ``epoch_index`` cuts it: each batch [k, B, …]."""
        index, mask = epoch_index(self.size[clients], order, batch_size)
        places = torch.from_numpy(index + self.start[clients, None])
        shape = index.shape
        flat = places.reshape(-1)
        arrays = {"x": self.x, **{f"y.{task}": labels for task, labels in self.y.items()}}
        # Steps lead, so that each batch is one contiguous block.
        cut = {key: value.index_select(0, flat).reshape(*shape, *value.shape[1:]) for key, value in arrays.items()}
        cut |= {"index": torch.from_numpy(np.ascontiguousarray(index)), "mask": torch.from_numpy(mask.copy())}
        return [{key: value[step] for key, value in cut.items()} for step in range(shape[0])]

    def split(self, k: int) -> Split:
        """Client k's examples, without a copy."""
        rows = slice(int(self.start[k]), int(self.start[k] + self.size[k]))
        return Split(self.x[rows].numpy(), {task: labels[rows].numpy() for task, labels in self.y.items()})


class Table(NamedTuple):
    """The clients of one set of tasks."""

    owned: TaskSet
    clients: NDArray[np.int64]
    """Ascending, [K]."""
    train: Rows
    test: Rows


class Shard(Mapping[ClientId, ClientData]):
    """A node's clients. Read as a mapping, it shows each client's examples without a copy."""

    def __init__(self, clients: Mapping[ClientId, ClientData]) -> None:
        by_tasks: dict[TaskSet, list[ClientId]] = {}
        for client in sorted(clients):
            by_tasks.setdefault(clients[client].tasks, []).append(client)
        self.tables = [
            Table(
                owned,
                np.array(members, np.int64),
                _rows([clients[client].train for client in members]),
                _rows([clients[client].test for client in members]),
            )
            for owned, members in sorted(by_tasks.items())
        ]
        ids = np.concatenate([table.clients for table in self.tables]) if self.tables else np.zeros(0, np.int64)
        order = np.argsort(ids)
        counts = [len(table.clients) for table in self.tables]
        self.clients: NDArray[np.int64] = ids[order]
        """Ascending."""
        self._table = np.repeat(np.arange(len(counts)), counts)[order]
        self._row = np.concatenate([np.arange(count) for count in counts] or [ids])[order]

    def locate(self, clients: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Table and row of each client.

        Raises:
            KeyError: a client that does not live here.
        """
        place = np.searchsorted(self.clients, clients)
        place[place == len(self.clients)] = 0
        absent = self.clients[place] != clients if len(self.clients) else np.ones(len(clients), bool)
        if absent.any():
            raise KeyError(
                f"Client {clients[absent][0]} does not live on this node, which hosts {self.clients[:10].tolist()}…"
            )
        return self._table[place], self._row[place]

    def __getitem__(self, client: ClientId) -> ClientData:
        (table,), (row,) = self.locate(np.array([client]))
        return ClientData(self.tables[table].train.split(row), self.tables[table].test.split(row))

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self.clients.tolist())

    def __len__(self) -> int:
        return len(self.clients)


def _rows(splits: Sequence[Split]) -> Rows:
    size = np.array([len(split.x) for split in splits], np.int64)
    return Rows(
        torch.from_numpy(np.concatenate([split.x for split in splits])),
        {task: torch.from_numpy(np.concatenate([split.y[task] for split in splits])) for task in splits[0].y},
        np.cumsum(size) - size,
        size,
    )
