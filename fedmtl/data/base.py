"""A federation's data: who owns which examples of which tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.input_forms import InputForms
from fedmtl.core.random import SERVER
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.disk import DiskArray, blocks_of
from fedmtl.data.inputs import check_finite, checked_on_disk, to_inputs
from fedmtl.data.joined import Joined
from fedmtl.data.joined_checks import Checks, check_joined
from fedmtl.data.numbers import to_numbers
from fedmtl.data.one_type import all_floats, check_shape, kept_on_disk, numbers_of, of_one_type
from fedmtl.data.prepared import Prepared
from fedmtl.data.recipe import TableRecipe
from fedmtl.data.roster import Roster
from fedmtl.data.schema import Schema as Schema
from fedmtl.data.split import ClientData as ClientData
from fedmtl.data.split import Split as Split
from fedmtl.data.task_checks import check_tasks
from fedmtl.tasks.base import Task


@dataclass(frozen=True, eq=False)
class Federation:
    """All clients, or those that one node hosts, with the schema that every side must agree on.

    Inputs become float32, or int64 where all clients' are whole numbers, and labels what their task makes of them;
    arrays that are so already are not copied. Clients whose examples are in common arrays are given as ``Joined``: a
    million take no object each.

    Raises:
        ValueError: no task or client, a client without a training example or a task, NaN or infinity in
            the inputs, shapes or numbers of rows that do not fit, labels that their task cannot have.
    """

    tasks: Mapping[str, Task]
    input_shape: tuple[int, ...]
    clients: Mapping[ClientId, ClientData]
    client_names: Mapping[ClientId, str] = field(default_factory=dict)
    """Names for tables and reports, of clients that have one."""
    recipe: TableRecipe | None = None
    """The way from rows of the examples' table to inputs; a run keeps it."""
    tokens: int = 0
    """Number of different tokens, the rows of an embedding, where inputs are such; 0: inputs are quantities. A model
    that would take tokens for quantities is refused."""
    forms: InputForms = field(default_factory=dict)
    """Inputs that have names, whose examples are rows as of ``to_rows``; ``from_arrays`` makes them."""
    prepared: Prepared | None = None
    """Agreement of the clients before the first round, by summaries of their data; None: there is none."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("A federation needs at least one task, got none.")
        check_tasks(self.tasks)
        _check_form(self.input_shape, self.clients)
        object.__setattr__(self, "clients", kept_on_disk(self.clients))
        if isinstance(self.clients, Joined):
            given = self.clients.with_inputs(self._of_one_type)
            checks = Checks(self._inputs, self._labels)
            object.__setattr__(self, "clients", check_joined(given, checks, SERVER))
            return
        given = of_one_type(self.clients, tuple(self.input_shape))
        checked = {int(client): self._checked(int(client), data) for client, data in sorted(given.items())}
        object.__setattr__(self, "clients", checked)

    @cached_property
    def schema(self) -> Schema:
        """The federation without its examples."""
        if isinstance(clients := self.clients, Joined):
            kinds, owners = {table.train.x.dtype.kind for table in clients.tables}, clients.roster
        else:
            kinds = {data.train.x.dtype.kind for data in clients.values()}
            owners = Roster({client: data.tasks for client, data in clients.items()})
        whole, names, prepared = kinds == {"i"}, self.client_names, self.prepared and self.prepared.of(())
        more = self.tokens, self.forms, prepared, self.recipe
        return Schema(self.tasks, self.input_shape, whole, owners, self.sizes, names, *more)

    def with_floats(self) -> "Federation":
        """The federation with inputs as float32, for a model that takes no whole numbers.

        Raises:
            ValueError: distinct values of a feature that merge in float32.
        """
        if isinstance(self.clients, Joined):
            return replace(self, clients=self.clients.with_inputs(all_floats))
        parts = [split for data in self.clients.values() for split in data]
        x = iter(all_floats([split.x for split in parts]))
        clients = {
            client: ClientData(*(split._replace(x=next(x)) for split in data)) for client, data in self.clients.items()
        }
        return replace(self, clients=clients)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Training and test examples of each client, ascending, [K, 2]."""
        if isinstance(self.clients, Joined):
            return self.clients.sizes
        return np.array([(len(d.train.x), len(d.test.x)) for d in self.clients.values()], np.int64).reshape(-1, 2)

    def inputs(self) -> Iterator[NDArray[Any]]:
        """Arrays that hold the inputs of all clients; of inputs on disk, blocks."""
        if isinstance(self.clients, Joined):
            arrays = {id(rows.x): rows.x for t in self.clients.tables for rows in (t.train, t.test)}.values()
        else:
            arrays = (split.x for data in self.clients.values() for split in data)
        for array in arrays:
            yield from blocks_of(array)

    def ids(self) -> NDArray[np.int64]:
        """The clients, ascending."""
        return self.clients.clients if isinstance(self.clients, Joined) else np.array(list(self.clients), np.int64)

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
        x = self._inputs(where, split.x)
        return Split(x, self._labels(where, split.y, len(x), owned))

    def _of_one_type(self, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """The inputs of all clients in one or more arrays, all float32 or all int64."""
        kinds = {getattr(array, "dtype", None) for array in arrays}
        if kinds == {np.dtype(np.float32)} or kinds == {np.dtype(np.int64)}:
            return arrays
        numbers = [numbers_of("all clients", array) for array in arrays]
        for array in numbers:
            check_shape("all clients", array.shape, tuple(self.input_shape))
        return to_inputs(numbers, lambda _: "all clients")

    def _inputs(self, where: str, x: Any) -> Any:
        if isinstance(x, DiskArray):
            check_shape(where, x.shape, tuple(self.input_shape))
            return checked_on_disk(x, where, x.dtype.kind == "i")
        x = np.ascontiguousarray(x)
        check_shape(where, x.shape, tuple(self.input_shape))
        check_finite(x, np.array([0, len(x)]), lambda _: where)
        return x

    def _labels(
        self, where: str, given: Mapping[str, NDArray[Any]], count: int, owned: TaskSet
    ) -> Mapping[str, NDArray[Any]]:
        if tuple(sorted(given)) != owned:
            raise ValueError(f"{where}: labels for {sorted(given)}, but the client's tasks are {list(owned)}.")
        labels = {}
        for name, y in given.items():
            if name not in self.tasks:
                raise ValueError(
                    f"{where}: labels for unknown task {name!r}; the tasks are {sorted(self.tasks)}."
                    f"{did_you_mean(name, self.tasks)}"
                )
            # Masked entries and objects that stand for numbers are numbers only once they are looked at.
            plain = type(y) is np.ndarray and y.dtype.kind in "biufU"
            raw = y if plain else to_numbers(f"{where}, task {name!r}: labels", y).array
            if raw.ndim == 0 or len(raw) != count:
                found = f"{len(raw)} labels" if raw.ndim else f"one label, {y!r},"
                raise ValueError(f"{where}: task {name!r} has {found} for {count} inputs.")
            try:
                labels[name] = self.tasks[name].labels(raw)
            except ValueError as error:
                raise ValueError(f"{where}, task {name!r}: {error}") from None
        return labels


def _check_form(input_shape: Any, clients: Any) -> None:
    """Refuse a shape that is none, and clients that are not {id: ClientData}.

    Raises:
        ValueError: it names the value and the form.
    """
    if not isinstance(input_shape, tuple | list) or not all(isinstance(n, int | np.integer) for n in input_shape):
        raise ValueError(f"input_shape is the shape of one example, such as (12,) or (1, 28, 28), got {input_shape!r}.")
    if isinstance(clients, Joined):
        return
    if not isinstance(clients, Mapping):
        raise ValueError(
            f"A federation's clients are {{id: ClientData(train, test)}}, got a {type(clients).__name__}; for a list, "
            "dict(enumerate(list))."
        )
    for client, data in clients.items():
        if not isinstance(client, int | np.integer) or isinstance(client, bool):
            raise ValueError(f"Client ids are whole numbers from 0, got {client!r}; number the clients.")
        if not (isinstance(data, ClientData) and isinstance(data.train, Split) and isinstance(data.test, Split)):
            raise ValueError(
                f"Client {client} is a {type(data).__name__}, which must be ClientData(Split(x, {{task: labels}}), "
                "Split(…)), for training and test; from_arrays makes it from (x, {task: labels})."
            )


@runtime_checkable
class Dataset(Protocol):
    """Source of a federation. Implementations are frozen dataclasses, so that they can be named in a file."""

    def load(self, seed: int) -> Federation:
        """The federation that ``seed`` partitions. The same seed gives the same bits on every node."""
        ...
