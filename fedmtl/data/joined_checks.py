"""Checks of clients in common arrays, each array once."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.disk import DiskArray
from fedmtl.data.joined import ClientTable, Joined, JoinedRows


class Checks(NamedTuple):
    """A federation's rules for examples. Each function begins its errors with ``where``."""

    inputs: Callable[[str, NDArray[Any]], NDArray[Any]]
    """(where, x) -> the inputs as they are kept; the array itself when it is so already."""
    labels: Callable[[str, Mapping[str, NDArray[Any]], int, TaskSet], Mapping[str, NDArray[Any]]]
    """(where, y, number of inputs, tasks) -> the labels as they are kept."""


def check_joined(clients: Joined, checks: Checks, largest: ClientId) -> Joined:
    """The clients with their examples as ``checks`` return them, which see whole arrays, and each of them once.

    Args:
        clients: as given.
        checks: as of one client's examples.
        largest: client ids are below it.

    Raises:
        ValueError: what the checks refuse, with the client's name; ids that are taken twice or out of range, clients
            without a training example or a task, rows that lie outside their arrays.
    """
    ids = clients.clients
    if len(ids) and (ids[0] < 0 or ids[-1] >= largest):
        bad = ids[0] if ids[0] < 0 else ids[-1]
        raise ValueError(f"Client ids are whole numbers from 0 to {largest - 1}, got {bad}.")
    if (ids[1:] == ids[:-1]).any():
        raise ValueError(f"Client {ids[1:][ids[1:] == ids[:-1]][0]} is given twice; give each client once.")
    inputs: dict[int, NDArray[Any]] = {}
    return Joined([_checked(table, checks, inputs) for table in clients.tables])


def _checked(table: ClientTable, checks: Checks, inputs: dict[int, NDArray[Any]]) -> ClientTable:
    if not table.owned and len(table.clients):
        raise ValueError(f"Client {table.clients[0]} owns no task; give it labels of one.")
    parts = []
    for name, rows in (("train", table.train), ("test", table.test)):
        if not len(rows.start) == len(rows.size) == len(table.clients):
            raise ValueError(
                f"Clients of {list(table.owned)}, {name}: {len(table.clients)} clients have {len(rows.start)} starts "
                f"and {len(rows.size)} sizes; give one each."
            )
        outside = (rows.start < 0) | (rows.size < 0) | (rows.start > len(rows.x) - rows.size)
        if outside.any():
            k = int(np.flatnonzero(outside)[0])
            raise ValueError(
                f"client {table.clients[k]}, {name}: {rows.size[k]} rows from {rows.start[k]} on, but there are "
                f"{len(rows.x)} inputs; starts and sizes stay inside the array."
            )
        if name == "train" and (rows.size == 0).any():
            raise ValueError(
                f"Client {table.clients[rows.size == 0][0]} has no training example; leave it out or give it data."
            )
        parts.append(_checked_rows(table, name, rows, checks, inputs))
    return ClientTable(table.owned, table.clients, *parts)


def _checked_rows(
    table: ClientTable, name: str, rows: JoinedRows, checks: Checks, inputs: dict[int, NDArray[Any]]
) -> JoinedRows:
    where = f"all clients, {name}"
    try:
        if id(rows.x) not in inputs:  # an array of several tables is looked at once
            inputs[id(rows.x)] = _checked_inputs(where, rows.x, checks)
        x = inputs[id(rows.x)]
        return rows._replace(x=x, y=checks.labels(where, rows.y, len(x), table.owned))
    except ValueError:
        for k, client in enumerate(table.clients.tolist()):
            one = rows.split(k)
            where = f"client {client}, {name}"
            checks.labels(where, one.y, len(checks.inputs(where, one.x)), table.owned)
        raise  # rows that are no client's


def _checked_inputs(where: str, x: NDArray[Any], checks: Checks) -> NDArray[Any]:
    if isinstance(x, DiskArray) or x.dtype not in (np.float32, np.int64) or not x.flags.c_contiguous:
        return checks.inputs(where, x)
    for start in range(0, max(len(x), 1), _CHUNK):  # what a check notes of each number takes memory
        checks.inputs(where, x[start : start + _CHUNK])
    return x


_CHUNK = 2**16
