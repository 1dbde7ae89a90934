"""Your own arrays as a federation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.infer import infer_regression, infer_task, with_nan
from fedmtl.data.partition import check_fraction, hold_out
from fedmtl.tasks.base import Task
from fedmtl.types import ClientId

Examples = tuple[ArrayLike, Mapping[str, ArrayLike]]
"""Inputs [N, …], and task name -> labels [N] or [N, labels]."""


@dataclass(frozen=True, eq=False)
class ArrayData:
    """Arrays in memory, checked and copied by ``from_arrays``, which makes it."""

    clients: Mapping[ClientId, Split | ClientData]
    """A ``Split`` is divided into train and test by ``load``; ``ClientData`` is divided already."""
    tasks: Mapping[str, Task | None]
    """None: a ``Regression`` whose mean and std ``load`` takes from the training labels of all clients."""
    test_fraction: float
    missing: float | None

    def load(self, seed: int) -> Federation:
        """The federation; ``seed`` decides which of a client's examples are tested on.

        Raises:
            ValueError: what ``Federation`` refuses, or training labels that no std can be taken from.
        """
        clients = {client: self._divided(client, data, seed) for client, data in self.clients.items()}
        trained = [data.train.y for data in clients.values()]
        tasks = {
            name: task or infer_regression(name, [y[name] for y in trained if name in y])
            for name, task in self.tasks.items()
        }
        return Federation(tasks, next(iter(clients.values())).train.x.shape[1:], clients)

    def _divided(self, client: ClientId, data: Split | ClientData, seed: int) -> ClientData:
        if isinstance(data, ClientData):
            return ClientData(self._rows(data.train, slice(None)), self._rows(data.test, slice(None)))
        train, test = hold_out(len(data.x), self.test_fraction, seed, client)
        return ClientData(self._rows(data, train), self._rows(data, test))

    def _rows(self, split: Split, rows: Any) -> Split:
        return Split(split.x[rows], {name: with_nan(y, self.missing)[rows] for name, y in split.y.items()})


def from_arrays(
    clients: Mapping[ClientId, Examples | Mapping[str, Examples]],
    tasks: Mapping[str, Task] | None = None,
    test_fraction: float = 0.2,
    missing: float | None = None,
) -> ArrayData:
    """A data set from arrays, in one call.

    ``from_arrays({0: (x0, {"sick": s0}), 1: (x1, {"sick": s1, "age": a1})})`` is two clients and two tasks, of
    which the first client owns one.

    Args:
        clients: client id -> ``(x, {task: labels})``, of which ``load`` tests on a part, or
            ``{"train": (x, {task: labels}), "test": (x, {task: labels})}``. x is [N, …] with the same shape but
            for N everywhere; labels are [N], or [N, labels] of 0 and 1. All is copied, x as float32.
        tasks: task name -> task. None: inferred for each name from the labels of all clients that own it:
            [N, labels] of 0 and 1 is ``MultiLabel``; nothing but 0 and 1 is ``Binary``; whole numbers *of an
            integer dtype* are ``MultiClass`` of the largest + 1; other numbers are ``Regression`` with the mean and
            std of the training labels. Say it where you know better, and on every node that holds only some
            of the clients, because all sides must agree.
        test_fraction: the part of each client's examples that is tested on, in (0, 1), rounded, at least one.
        missing: the label that stands for "not labelled", such as -1 or ``float("nan")``. None: there is none.

    Raises:
        ValueError: no clients; a client whose id is no whole number, that is not of the form above, or that has a
            single example and no test part of its own; NaN or infinity among the inputs; NaN among the labels
            without ``missing``; labels from which no task can be inferred, or that their task cannot have.
    """
    if not clients:
        raise ValueError("from_arrays needs at least one client, got none.")
    check_fraction("from_arrays", test_fraction)
    for client in clients:
        if not isinstance(client, int | np.integer):
            raise ValueError(f"Client ids are whole numbers from 0, got {client!r}; number the clients.")
    copies = {client: _copied_client(f"Client {client}", data, missing) for client, data in clients.items()}
    dataset = ArrayData(copies, _inferred(copies, missing) if tasks is None else dict(tasks), test_fraction, missing)
    dataset.load(0)  # What cannot be loaded is refused here, where the arrays are at hand.
    return dataset


def _copied_client(where: str, data: Any, missing: float | None) -> Split | ClientData:
    if not isinstance(data, Mapping):
        return _copied(where, data, missing)
    if sorted(data) != ["test", "train"]:
        raise ValueError(f"{where} has parts {sorted(data)}; use 'train' and 'test', or (x, {{task: labels}}) alone.")
    return ClientData(*(_copied(f"{where}, {part}", data[part], missing) for part in ("train", "test")))


def _copied(where: str, data: Any, missing: float | None) -> Split:
    if not (isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[1], Mapping)):
        raise ValueError(f"{where} is a {type(data).__name__}; from_arrays takes (x, {{task: labels}}).")
    x = np.asarray(data[0])
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise ValueError(
            f"{where}: inputs are numbers [N, …], got {x.dtype} of shape {x.shape}; for [N], use x[:, None]."
        )
    with np.errstate(over="ignore"):  # A number beyond float32 becomes infinite, which Federation refuses by its row.
        x = np.array(x, np.float32, order="C")
    labels = {name: _copied_labels(f"{where}, task {name!r}", y, missing) for name, y in data[1].items()}
    for name, y in labels.items():
        if len(y) != len(x):
            raise ValueError(f"{where}: task {name!r} has {len(y)} labels for {len(x)} inputs.")
    return Split(x, labels)


def _copied_labels(where: str, y: ArrayLike, missing: float | None) -> NDArray[Any]:
    """A copy of the same dtype, by which whole numbers are told from others."""
    y = np.array(y)
    if y.dtype.kind not in "biuf" or y.ndim == 0:
        raise ValueError(
            f"{where}: labels are numbers [N] or [N, labels], got {y.dtype} of shape {y.shape}; "
            "code names as whole numbers from 0."
        )
    unknown = np.isnan(y)
    if missing is None and unknown.any():
        raise ValueError(
            f"{where}: {int(unknown.sum())} label(s) are NaN, the first in row {int(np.argwhere(unknown)[0, 0])}; "
            "pass missing=float('nan') if NaN stands for 'not labelled'."
        )
    return y


def _inferred(clients: Mapping[ClientId, Split | ClientData], missing: float | None) -> dict[str, Task | None]:
    labels: dict[str, list[NDArray[Any]]] = {}
    for data in clients.values():
        for split in (data,) if isinstance(data, Split) else data:
            for name, y in split.y.items():
                labels.setdefault(name, []).append(y)
    return {name: infer_task(name, ys, missing) for name, ys in sorted(labels.items())}
