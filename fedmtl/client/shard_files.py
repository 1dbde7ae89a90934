"""A node's clients as files that processes of the same machine map into memory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.client.data_shard import Shard, ShardRows, ShardTable, by_tasks
from fedmtl.core.types import ClientId
from fedmtl.data.base import ClientData
from fedmtl.data.disk import DiskArray, end_to_end
from fedmtl.data.disk_index import read_disk_array, write_disk_array
from fedmtl.data.joined import Chosen, Joined

LOOKED_UP = 2**31
"""Bytes of an array up to which all its pages are looked up when it is mapped, and not one by one as they are read."""

POPULATION = 100_000
"""Clients of a node from which on the pages of those that never train are not worth looking up."""

_POPULATE_READ = 22  # of madvise, since Linux 5.14


def write_shard(folder: Path, clients: Mapping[ClientId, ClientData]) -> None:
    """Write the arrays of ``shard_of`` to files, one client after the other, without a copy in memory.

    Of inputs on disk, the files name places in the user's own, which every process reads.
    """
    folder.mkdir(parents=True)
    if isinstance(clients, Joined):
        _write_joined(folder, clients)
        return
    tables = by_tasks(clients)
    (folder / "tables.json").write_text(json.dumps(list(tables)))
    for index, (owned, members) in enumerate(tables.items()):
        np.save(folder / f"{index}.clients.npy", np.array(members, np.int64))
        for part in range(2):
            splits = [clients[client][part] for client in members]
            np.save(folder / f"{index}.{part}.size.npy", np.array([len(split.x) for split in splits], np.int64))
            _write_inputs(folder / f"{index}.{part}.x", [split.x for split in splits])
            for task in owned:
                _write_rows(folder / f"{index}.{part}.y.{task}.npy", [split.y[task] for split in splits])


def _write_joined(folder: Path, clients: Joined) -> None:
    (folder / "tables.json").write_text(json.dumps([table.owned for table in clients.tables]))
    for index, table in enumerate(clients.tables):
        np.save(folder / f"{index}.clients.npy", table.clients)
        for part, rows in enumerate((table.train, table.test)):
            np.save(folder / f"{index}.{part}.size.npy", rows.size)
            chosen = rows.numbers()
            if isinstance(rows.x, DiskArray):
                write_disk_array(folder / f"{index}.{part}.x", rows.x.select(chosen))
            else:
                _write_chosen(folder / f"{index}.{part}.x.npy", rows.x, chosen)
            for task in table.owned:
                _write_chosen(folder / f"{index}.{part}.y.{task}.npy", rows.y[task], chosen)


def _write_inputs(path: Path, parts: Sequence[Any]) -> None:
    if any(isinstance(part, DiskArray) for part in parts):
        write_disk_array(path, end_to_end(parts))
    else:
        _write_rows(path.with_name(f"{path.name}.npy"), parts)


def _write_chosen(path: Path, array: NDArray[Any], rows: NDArray[np.int64]) -> None:
    _write_parts(path, (len(rows), *array.shape[1:]), array.dtype, Chosen(array, rows))


def _write_rows(path: Path, parts: Sequence[NDArray[Any]]) -> None:
    _write_parts(path, (sum(len(part) for part in parts), *parts[0].shape[1:]), parts[0].dtype, parts)


def _write_parts(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], parts: Iterable[NDArray[Any]]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)


def read_shard(folder: Path) -> Shard:
    """Map the files of ``write_shard`` into memory, without a copy."""

    def mapped(name: str) -> Tensor:
        path = folder / f"{name}.npy"
        array = np.load(path, mmap_mode="r")
        if not array.size:
            return torch.from_numpy(np.array(array))
        array = np.load(path, mmap_mode="c")
        if array.nbytes <= LOOKED_UP and not large:
            with suppress(OSError, ValueError):  # an older kernel, or another system
                array._mmap.madvise(_POPULATE_READ)
        return torch.from_numpy(array)

    owners = json.loads((folder / "tables.json").read_text())
    members = [np.load(folder / f"{index}.clients.npy") for index in range(len(owners))]
    large = sum(map(len, members)) > POPULATION
    tables = []
    for index, owned in enumerate(owners):
        splits = []
        for part in range(2):
            size = np.load(folder / f"{index}.{part}.size.npy")
            labels = {task: mapped(f"{index}.{part}.y.{task}") for task in owned}
            stored = read_disk_array(folder / f"{index}.{part}.x")
            x = mapped(f"{index}.{part}.x") if stored is None else stored
            splits.append(ShardRows(x, labels, np.cumsum(size) - size, size))
        tables.append(ShardTable(tuple(owned), members[index], *splits))
    return Shard(tables)
