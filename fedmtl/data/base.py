"""A federation's data: who owns which examples of which tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.rng import SERVER
from fedmtl.tasks.base import Task
from fedmtl.types import ClientId, TaskSet


class Split(NamedTuple):
    """Examples of one client.

    x: inputs, float32 [N, *input_shape] (int64 for tokens).
    y: task name -> labels, float32 [N] or [N, outputs], NaN where not labelled.
    """

    x: NDArray[Any]
    y: Mapping[str, NDArray[Any]]


class ClientData(NamedTuple):
    """What one client learns from and what it is measured on."""

    train: Split
    test: Split

    @property
    def tasks(self) -> TaskSet:
        """The tasks that this client owns."""
        return tuple(sorted(self.train.y))


class Schema(NamedTuple):
    """What every side knows of a federation: all but the examples."""

    tasks: Mapping[str, Task]
    input_shape: tuple[int, ...]
    integer_inputs: bool
    """Tokens, and no numbers."""
    owners: Mapping[ClientId, TaskSet]
    """All clients, ascending, and the tasks that each owns."""


@dataclass(frozen=True, eq=False)
class Federation:
    """All clients, or those that one node hosts, with the schema that every side must agree on.

    Inputs become float32 (whole numbers: int64) and labels what their task makes of them; arrays that are so
    already are not copied.

    Raises:
        ValueError: no task or client, a client without a training example or a task, NaN or infinity in
            the inputs, shapes or numbers of rows that do not fit, labels that their task cannot have.
    """

    tasks: Mapping[str, Task]
    input_shape: tuple[int, ...]
    clients: Mapping[ClientId, ClientData]

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("A federation needs at least one task, got none.")
        for name in self.tasks:
            if not name.isidentifier():
                raise ValueError(
                    f"A task's name becomes part of parameter names and must be an identifier, got {name!r}."
                )
        checked = {int(client): self._checked(int(client), data) for client, data in sorted(self.clients.items())}
        object.__setattr__(self, "clients", checked)

    @property
    def schema(self) -> Schema:
        """The federation without its examples."""
        sets: dict[TaskSet, TaskSet] = {}  # one object for each set of tasks, not one for each client
        owners = {client: sets.setdefault(data.tasks, data.tasks) for client, data in self.clients.items()}
        kinds = {data.train.x.dtype.kind for data in self.clients.values()}
        return Schema(self.tasks, self.input_shape, kinds == {"i"}, owners)

    def _checked(self, client: ClientId, data: ClientData) -> ClientData:
        if not 0 <= client < SERVER:
            raise ValueError(f"Client ids are whole numbers from 0 to {SERVER - 1}, got {client}.")
        if len(data.train.x) == 0:
            raise ValueError(f"Client {client} has no training example; leave it out or give it data.")
        if not data.tasks:
            raise ValueError(f"Client {client} owns no task; give it labels of one of {sorted(self.tasks)}.")
        return ClientData(
            self._split(f"client {client}, train", data.train, data.tasks),
            self._split(f"client {client}, test", data.test, data.tasks),
        )

    def _split(self, where: str, split: Split, owned: TaskSet) -> Split:
        x = np.ascontiguousarray(split.x)
        x = x.astype(np.int64 if x.dtype.kind in "iu" else np.float32, copy=False)
        if x.shape[1:] != tuple(self.input_shape):
            raise ValueError(
                f"{where}: inputs have shape {x.shape[1:]}, the federation's is {tuple(self.input_shape)}."
            )
        if not np.isfinite(x).all():
            rows = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
            raise ValueError(
                f"{where}: inputs hold NaN or infinity in {len(rows)} row(s), first row {rows[0]}; "
                "drop or impute them before building the federation."
            )
        if tuple(sorted(split.y)) != owned:
            raise ValueError(f"{where}: labels for {sorted(split.y)}, but the client's tasks are {list(owned)}.")
        labels = {}
        for name, y in split.y.items():
            if name not in self.tasks:
                raise ValueError(f"{where}: labels for unknown task {name!r}; the tasks are {sorted(self.tasks)}.")
            if len(y) != len(x):
                raise ValueError(f"{where}: task {name!r} has {len(y)} labels for {len(x)} inputs.")
            try:
                labels[name] = self.tasks[name].labels(np.asarray(y))
            except ValueError as error:
                raise ValueError(f"{where}, task {name!r}: {error}") from None
        return Split(x, labels)


class Dataset(Protocol):
    """Where a federation comes from. Implementations are frozen dataclasses, so that they can be named in a file."""

    def load(self, seed: int) -> Federation:
        """The federation that ``seed`` partitions. The same seed gives the same bits on every node."""
        ...
