"""The data of a node's clients in memory: a table for each set of tasks, with its clients' examples end to end."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.types import Batch, ClientId, TaskSet
from fedmtl.data.base import ClientData, Split
from fedmtl.data.batches import epoch_index
from fedmtl.data.disk import DiskArray, end_to_end
from fedmtl.data.inputs import checked_on_disk, floats
from fedmtl.data.joined import ClientIndex, Joined
from fedmtl.data.joined import JoinedRows as JoinedRows
from fedmtl.data.roster import Roster, roster_of
from fedmtl.engines.base import LazyRows
from fedmtl.engines.batching.streamed import AT_ONCE, StreamedBatches


class ShardRows(NamedTuple):
    """One split of K clients: client k's examples are rows start[k] to start[k] + size[k]."""

    x: Tensor | DiskArray
    y: Mapping[str, Tensor]
    start: NDArray[np.int64]
    size: NDArray[np.int64]

    def batches(
        self,
        clients: NDArray[np.int64],
        order: NDArray[np.int64] | None,
        batch_size: int | None,
    ) -> Sequence[Batch]:
        """Cut one epoch of k of the clients into batches [k, B, …], as ``epoch_index`` does.

        Inputs on disk that are many are read when a batch is used.
        """
        places, rest = self._cut(clients, order, batch_size)
        labels = {f"y.{task}": value for task, value in self.y.items()}
        streamed = places.numel() * self.bytes_of_one > AT_ONCE
        arrays: dict[str, Any] = labels if streamed else {"x": self.x, **labels}
        # Steps lead, so that each batch is one contiguous block.
        cut = {key: rows_at(value, places.flatten(1)) for key, value in arrays.items()}
        cut = {key: value.reshape(*places.shape, *value.shape[2:]) for key, value in cut.items()} | rest
        batches = [{key: value[step] for key, value in cut.items()} for step in range(len(places))]
        if not isinstance(self.x, DiskArray) or not streamed:
            return batches
        index, take = places.numpy(), self.x.take  # no tensor of a transform in which a batch is read
        return StreamedBatches(lambda step: torch.from_numpy(take(index[step])), batches)

    @property
    def bytes_of_one(self) -> int:
        """Bytes of the inputs of one example that are read from disk; 0 in memory."""
        return 0 if isinstance(self.x, Tensor) else math.prod(self.x.shape[1:]) * self.x.dtype.itemsize

    def lazy_batches(
        self,
        clients: NDArray[np.int64],
        order: NDArray[np.int64] | None,
        batch_size: int | None,
    ) -> list[Mapping[str, Tensor | LazyRows]]:
        """Cut the same batches without a copy of the examples, which are in memory."""
        places, rest = self._cut(clients, order, batch_size)
        arrays = self._arrays().items()
        return [
            {key: LazyRows(value, places[step]) for key, value in arrays} | {key: rest[key][step] for key in rest}
            for step in range(len(places))
        ]

    def _arrays(self) -> dict[str, Any]:
        return {"x": self.x, **{f"y.{task}": labels for task, labels in self.y.items()}}

    def _cut(
        self, clients: NDArray[np.int64], order: NDArray[np.int64] | None, batch_size: int | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the rows that are in the batches, and the batches' other columns: [steps, k, B] each."""
        index, mask = epoch_index(self.size[clients], order, batch_size, batch_size)
        rest = {"index": torch.from_numpy(np.ascontiguousarray(index)), "mask": torch.from_numpy(mask.copy())}
        return torch.from_numpy(np.ascontiguousarray(index + self.start[clients, None])), rest

    def split(self, k: int) -> Split:
        """Return client k's examples, without a copy."""
        rows = slice(int(self.start[k]), int(self.start[k] + self.size[k]))
        x = self.x[rows].numpy() if isinstance(self.x, Tensor) else self.x.select(rows)
        return Split(x, {task: labels[rows].numpy() for task, labels in self.y.items()})  # pyright: ignore


def rows_at(source: Any, index: Tensor) -> Tensor:
    """Rows [k, B] of a tensor, or of an array on disk, as a contiguous tensor [k, B, …]."""
    if isinstance(source, DiskArray):
        return torch.from_numpy(source.take(index.numpy()))
    return LazyRows(source, index).copy()


class ShardTable(NamedTuple):
    """The clients of one set of tasks."""

    owned: TaskSet
    clients: NDArray[np.int64]
    """Ascending, [K]."""
    train: ShardRows
    test: ShardRows
    valid: ShardRows | None = None
    """Held out of the training examples, and no longer among ``train``; None where there is no such part."""


class Shard(Mapping[ClientId, ClientData]):
    """A node's clients. Read as a mapping, it shows each client's examples without a copy."""

    def __init__(self, tables: Sequence[ShardTable]) -> None:
        self.tables = tables
        self._places = ClientIndex([table.clients for table in tables])

    @property
    def clients(self) -> NDArray[np.int64]:
        """Ascending."""
        return self._places.clients

    @property
    def roster(self) -> Roster:
        """All clients, and the tasks that each owns."""
        return roster_of(self.clients, [table.owned for table in self.tables], self._places.table)

    def locate(self, clients: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the table and the row of each client.

        Raises:
            KeyError: a client that does not live here.
        """
        try:
            return self._places.locate(clients)
        except KeyError as error:
            hosted = self.clients[:10].tolist()
            raise KeyError(f"Client {error.args[0]} does not live on this node, which hosts {hosted}…") from None

    def __getitem__(self, client: ClientId) -> ClientData:
        (table,), (row,) = self.locate(np.array([client]))
        return ClientData(self.tables[table].train.split(row), self.tables[table].test.split(row))

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self.clients.tolist())

    def __len__(self) -> int:
        return len(self.clients)


def shard_of(clients: Mapping[ClientId, ClientData]) -> Shard:
    """Join a node's clients by sets of tasks; examples that are in common arrays are not copied."""
    if isinstance(clients, Joined):
        tables = clients.tables
        return Shard([ShardTable(t.owned, t.clients, _tensors(t.train), _tensors(t.test)) for t in tables])
    return Shard(
        [
            ShardTable(
                owned,
                np.array(members, np.int64),
                _rows([clients[client].train for client in members]),
                _rows([clients[client].test for client in members]),
            )
            for owned, members in by_tasks(clients).items()
        ]
    )


def by_tasks(clients: Mapping[ClientId, ClientData]) -> dict[TaskSet, list[ClientId]]:
    """Group clients, ascending, by the set of tasks that they own."""
    found: dict[TaskSet, list[ClientId]] = {}
    for client in sorted(clients):
        found.setdefault(clients[client].tasks, []).append(client)
    return dict(sorted(found.items()))


def _rows(splits: Sequence[Split]) -> ShardRows:
    size = np.array([len(split.x) for split in splits], np.int64)
    return ShardRows(
        _inputs(end_to_end([split.x for split in splits])),
        {task: torch.from_numpy(np.concatenate([split.y[task] for split in splits])) for task in splits[0].y},
        np.cumsum(size) - size,
        size,
    )


def _inputs(x: Any) -> Tensor | DiskArray:
    return x if isinstance(x, DiskArray) else torch.from_numpy(x)


def _tensors(rows: JoinedRows) -> ShardRows:
    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array if array.flags.writeable else array.copy())  # torch has no arrays to read only

    x = rows.x if isinstance(rows.x, DiskArray) else tensor(rows.x)
    return ShardRows(x, {task: tensor(labels) for task, labels in rows.y.items()}, rows.start, rows.size)


def with_floats(shard: Shard) -> Shard:
    """Return the clients with inputs as float32, or the shard itself where they are.

    Raises:
        ValueError: distinct values of a feature that merge in float32.
    """
    kinds = {str(rows.x.dtype) for table in shard.tables for rows in (table.train, table.test)}
    if not kinds & {"int64", "torch.int64"}:
        return shard

    def converted(rows: ShardRows) -> ShardRows:
        if isinstance(rows.x, DiskArray):
            return rows._replace(x=checked_on_disk(rows.x, "inputs", whole=False))
        return rows._replace(x=torch.from_numpy(floats(rows.x.numpy(), "inputs")))

    return Shard(
        [
            t._replace(train=converted(t.train), test=converted(t.test), valid=t.valid and converted(t.valid))
            for t in shard.tables
        ]
    )
