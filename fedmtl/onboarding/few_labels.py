"""The first k labels of each new client: which of its training examples are labelled, drawn once for all k.

Of a task of classes k counts the examples of each class that the client has, of other tasks all examples. The examples
of a smaller k are among those of a larger one.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.client.data_shard import ShardRows, rows_at
from fedmtl.core.bounds import shown
from fedmtl.core.random import rng
from fedmtl.core.types import ClientId
from fedmtl.tasks.base import Task
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.names import class_names
from fedmtl.tasks.ordinal import Ordinal


class FewLabels(NamedTuple):
    """Examples of K clients with some of their labels."""

    rows: ShardRows
    """The examples that have one; labels that are not among them are NaN."""
    labelled: Mapping[str, NDArray[np.int64]]
    """Task -> number of labelled examples of each client, [K]."""


def few_labels(
    rows: ShardRows,
    tasks: Mapping[str, Task],
    labels: int | None,
    seed: int,
    clients: NDArray[np.int64],
    names: Mapping[ClientId, str],
) -> FewLabels:
    """Return the examples of some labels of each client.

    Args:
        rows: training examples of K clients.
        tasks: of the clients, by name.
        labels: k; None for all.
        seed: of the draw.
        clients: the K clients.
        names: of clients that have one.

    Raises:
        ValueError: a client without a labelled example of a task, or with fewer than k.
    """
    kept: dict[str, list[NDArray[np.int64]]] = {task: [] for task in tasks}
    for k, client in enumerate(clients.tolist()):
        own = slice(int(rows.start[k]), int(rows.start[k] + rows.size[k]))
        for name, task in tasks.items():
            where = f"Client {names.get(client, client)}, task {name!r}"
            y = rows.y[name][own].numpy()
            chosen = _chosen(where, task, y, labels, rng(seed, 0, client, f"labels of {name}"))
            kept[name].append(np.sort(chosen) + own.start)
    labelled = {name: np.array(list(map(len, parts)), np.int64) for name, parts in kept.items()}
    some = [np.unique(np.concatenate([kept[name][k] for name in tasks])) for k in range(len(clients))]
    size = np.array(list(map(len, some)), np.int64)
    places = torch.from_numpy(np.concatenate(some))
    y = {name: _masked(rows.y[name], np.concatenate(kept[name]), places) for name in tasks}
    return FewLabels(ShardRows(rows_at(rows.x, places[None])[0], y, np.cumsum(size) - size, size), labelled)


def _masked(y: Tensor, kept: NDArray[np.int64], places: Tensor) -> Tensor:
    """Return the labels of some examples, NaN where they are not among those that are kept."""
    found = torch.full_like(y, torch.nan)
    found[torch.from_numpy(kept)] = y[torch.from_numpy(kept)]
    return found[places]


def _chosen(
    where: str, task: Task, y: NDArray[np.float32], labels: int | None, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Return the examples of one client whose labels of one task are used."""
    known = np.flatnonzero(~np.isnan(y.reshape(len(y), -1)).all(1))
    if not len(known):
        raise ValueError(f"{where}: no labelled example; label some, or leave out the client, or its task.")
    known = draw.permutation(known)
    if labels is None:
        return known
    if not isinstance(task, Binary | MultiClass | Ordinal):
        if len(known) < labels:
            raise ValueError(
                f"{where}: {len(known)} labelled examples, but labels={labels} of each client are asked for; ask for "
                "fewer, or for all of them."
            )
        return known[:labels]
    of_class = [known[y[known] == value] for value in np.unique(y[known])]
    for some in of_class:
        if len(some) < labels:
            value, words = int(y[some[0]]), class_names(task)
            raise ValueError(
                f"{where}: {len(some)} labelled examples of class {shown(words[value] if words else value)}, but "
                f"labels={labels} of each class are asked for; ask for fewer, or for all of them."
            )
    return np.concatenate([some[:labels] for some in of_class])
