"""Your own arrays as a federation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedmtl.core.input_forms import InputForms
from fedmtl.core.types import ClientId
from fedmtl.data.array_folder import files_of, with_labels
from fedmtl.data.array_tables import check_alike, check_finite_columns, columns_of, order_of, same_order
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.disk import DiskArray, some_rows
from fedmtl.data.disk_open import opened
from fedmtl.data.infer import infer_regression
from fedmtl.data.inputs import to_inputs
from fedmtl.data.labels import LabelPart, to_labels
from fedmtl.data.named_inputs import in_rows, named_parts
from fedmtl.data.names import number_clients, number_labels
from fedmtl.data.numbers import NumberArray, to_numbers
from fedmtl.data.partition import check_fraction, hold_out
from fedmtl.data.task_checks import check_name, check_tasks
from fedmtl.data.task_sets import TaskSets, divided, examples_of, in_parts, named_sets
from fedmtl.data.tokens import token_count
from fedmtl.tasks.base import Task

Examples = tuple[ArrayLike | Path, Mapping[str, ArrayLike | Path]]
"""Inputs [N, …], and task name -> labels [N, …]."""
TaskExamples = Mapping[str, tuple[ArrayLike | Path, ArrayLike | Path]]
"""Task name -> inputs and labels of its own."""
ClientExamples = Examples | TaskExamples | Mapping[str, Examples | TaskExamples]
"""Those that ``load`` divides, or of "train" and "test"."""


@dataclass(frozen=True, eq=False)
class ArrayData:
    """Arrays, checked and copied by ``from_arrays``, which makes it; inputs on disk stay there."""

    clients: Mapping[ClientId, Split | ClientData | TaskSets]
    """A ``Split`` is divided into train and test by ``load``, as each of ``TaskSets`` is; ``ClientData`` is divided."""
    tasks: Mapping[str, Task | None]
    """None: a ``Regression`` whose mean and std ``load`` takes from the training labels of all clients, as it does what
    other tasks leave to be ``fitted``."""
    test_fraction: float
    client_names: Mapping[ClientId, str] = field(default_factory=dict)
    """Number -> name, of clients that the user named."""
    tokens: int = 0
    """Number of different tokens, where inputs are such."""
    forms: InputForms = field(default_factory=dict)
    """Inputs that have names, whose examples are rows of one shape."""

    def __repr__(self) -> str:
        """Without the arrays, which fill screens, and errors that name the data."""
        return f"ArrayData({len(self.clients)} clients, tasks={dict(self.tasks)}, test_fraction={self.test_fraction})"

    def load(self, seed: int) -> Federation:
        """The federation; ``seed`` decides which of a client's examples are tested on.

        Raises:
            ValueError: what ``Federation`` refuses, or training labels that no std can be taken from.
        """
        clients = {client: self._divided(client, data, seed) for client, data in self.clients.items()}
        trained = [data.train.y for data in clients.values()]
        labels = {name: [y[name] for y in trained if name in y] for name in self.tasks}
        tasks = {name: _fitted(name, task, labels[name]) for name, task in self.tasks.items()}
        shape = next(iter(clients.values())).train.x.shape[1:]
        return Federation(tasks, shape, clients, self.client_names, tokens=self.tokens, forms=self.forms)

    def _divided(self, client: ClientId, data: Split | ClientData | TaskSets, seed: int) -> ClientData:
        if isinstance(data, TaskSets):
            return divided(client, data, self.test_fraction, seed)
        if isinstance(data, ClientData):
            return ClientData(self._rows(data.train, slice(None)), self._rows(data.test, slice(None)))
        train, test = hold_out(len(data.x), self.test_fraction, seed, client)
        return ClientData(self._rows(data, train), self._rows(data, test))

    def _rows(self, split: Split, rows: Any) -> Split:
        return Split(some_rows(split.x, rows), {name: y[rows] for name, y in split.y.items()})


def from_arrays(
    clients: Mapping[ClientId, ClientExamples] | Mapping[str, ClientExamples] | str | Path,
    tasks: Mapping[str, Task] | None = None,
    test_fraction: float = 0.2,
    missing: float | None = None,
    tokens: bool | int = False,
) -> ArrayData:
    """A data set from arrays, in one call.

    ``from_arrays({0: (x0, {"sick": s0}), 1: (x1, {"sick": s1, "age": a1})})`` is two clients and two tasks, of
    which the first client owns one.

    Args:
        clients: number or name -> ``(x, {task: labels})``, of which ``load`` tests on a part, or ``{"train": (x, {task:
            labels}), "test": (x, {task: labels})}``; in place of ``(x, {task: labels})`` also ``{task: (x, labels)}``,
            where tasks have examples of their own, or ``{input: (x, {task: labels})}``, where several tasks have; these
            inputs may be of unlike shape, for a model with ``Stems``. Else x is [N, …] with the same shape but for N
            everywhere; labels are [N], [N, 1], or [N, labels] of 0 and 1. Both may be numpy arrays, tensors, tables or
            columns of pandas or polars, sparse matrices or lists, mapped arrays (``np.memmap``) or paths of .npy files.
            Inputs of the last two stay on disk, and are read for each batch; the rest is copied: x as int64 where every
            client's is of a type of whole numbers (tokens; a model that takes floats is given float32), else as
            float32, which rounds to 7 digits and is refused where distinct values would merge. Clients with names are
            numbered from 0 in alphabetical order, and tables show the names; on devices, where each knows some clients
            only, number them. Or a folder with a folder for each client, by its name, which has ``x.npy`` and a file of
            labels for each task, such as ``sick.npy``, or folders ``train`` and ``test`` of such files.
        tasks: task name -> task. Those that are left out, or all, are inferred from the labels of all clients
            together: nothing but 0 and 1, or but -1 and 1, is ``Binary``; [N, classes] with one 1 in each row is
            ``MultiClass``, other [N, labels] of 0 and 1 are ``MultiLabel``; fractions are ``Regression`` with the mean
            and std of the training labels; whole numbers from 0 are ``MultiClass`` of the largest + 1 if at least
            every tenth value up to it occurs (where no client has a type of whole numbers, as in a column with gaps:
            every second, at most 100, each twice on average), and ``Regression`` if they are of a float type and
            over 20 that are sparse, of both signs or hardly ever equal. Anything between is refused with a question.
            Name the task where you know better, and on every node that holds only some of the clients, because all
            sides must agree. Labels that are texts are classes of a ``MultiClass``, in alphabetical order, or in that
            of the task's ``names``.
        test_fraction: the part of each client's examples that is tested on, in (0, 1), rounded, at least one.
        missing: the label that stands for "not labelled", such as -1 or ``float("nan")``, which is pandas' NA and a
            masked entry, too. None: there is none.
        tokens: True where inputs are tokens, or the number of different ones, such as 10_000; by default the largest
            plus one. A model that would take them for quantities, such as an MLP, is then refused.

    Raises:
        ValueError: no clients; a client whose id is no whole number, that is not of the form above, or that has a
            single example and no test part of its own; NaN or infinity among the inputs; NaN among the labels
            without ``missing``; labels from which no task can be inferred, or that their task cannot have; numbers
            that the library's types cannot hold.
    """
    clients = files_of(clients) if isinstance(clients, str | Path) else clients
    if not isinstance(clients, Mapping):
        raise ValueError(
            f"from_arrays takes {{client: (x, {{task: labels}})}}, got a {type(clients).__name__}; for a list, "
            "dict(enumerate(list))."
        )
    if not clients:
        raise ValueError("from_arrays needs at least one client, got none.")
    check_fraction("from_arrays", test_fraction)
    missing = _number("missing", missing)
    numbered, names = number_clients(clients)
    where = {client: f"Client {names.get(client, client)}" for client in numbered}
    numbered = {client: with_labels(where[client], named_sets(data)) for client, data in numbered.items()}
    numbered, given = number_labels(numbered, {} if tasks is None else check_tasks(tasks))
    parts = {client: _parts(where[client], data) for client, data in numbered.items()}
    raw = [part for own in parts.values() for _, part in own]
    inputs = named_parts(raw, [name for own in parts.values() for name, _ in own])
    for name in sorted({*inputs}) or [""]:
        own = [part for k, part in enumerate(raw) if not inputs or inputs[k] == name]
        check_alike(f"input {name!r}" if name else "inputs", [(p.where, p.columns[""]) for p in own if "" in p.columns])
    for name in sorted({name for part in raw for name in part.columns} - {""}):
        check_alike(f"task {name!r}", [(part.where, part.columns[name]) for part in raw if name in part.columns])
    forms, x = in_rows(raw, inputs) if inputs else ({}, to_inputs([p.x for p in raw], lambda k: raw[k].where))
    number = token_count(tokens, x, lambda part: raw[part].where)
    kinds, y = to_labels(raw, given, missing)
    splits = iter([Split(*pair) for pair in zip(x, y, strict=True)])
    copies = {client: in_parts(data, [next(splits) for _ in parts[client]]) for client, data in numbered.items()}
    dataset = ArrayData(copies, kinds, test_fraction, names, number, forms)
    dataset.load(0)  # What cannot be loaded is refused here, where the arrays are at hand.
    return dataset


def _fitted(name: str, task: Task | None, labels: Sequence[NDArray[Any]]) -> Task:
    """The task with what follows from the training labels of all clients."""
    if task is None:
        return infer_regression(name, labels)
    if not task.traits.fitted:
        return task
    own: Any = task
    try:
        return own.fitted(labels)
    except ValueError as error:
        raise ValueError(f"Task {name!r}: {error}") from None


def _number(name: str, value: Any) -> float | None:
    if value is None or (isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)):
        return None if value is None else float(value)
    raise ValueError(
        f"{name} is a number, such as -1 or float('nan') (which is NA, too), or None, got {value!r}; code text as "
        "numbers."
    )


def _parts(where: str, data: Any) -> list[tuple[str, LabelPart]]:
    """The sets of examples of a client, each with the name of its input."""
    return [(name, _part(own, one)) for own, name, one in examples_of(where, data)]


def _part(where: str, data: Any) -> LabelPart:
    if not (isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[1], Mapping)):
        raise ValueError(f"{where} is a {type(data).__name__}; from_arrays takes (x, {{task: labels}}).")
    given = opened(f"{where}, inputs", data[0])
    x: Any = given if isinstance(given, DiskArray) else to_numbers(f"{where}, inputs", given).array
    if x.ndim < 2:
        raise ValueError(
            f"{where}: inputs are numbers [N, …], got {x.dtype} of shape {x.shape}; for [N], use x[:, None]."
        )
    if not len(x) and not (where.endswith("test") or ", test, examples of " in where):
        raise ValueError(f"{where} has no example; leave the client out or give it data.")
    if 0 in x.shape[1:]:
        raise ValueError(f"{where}: inputs of shape {x.shape} hold no number; give at least one feature.")
    if hasattr(data[0], "columns") and x.dtype.kind == "f":
        check_finite_columns(where, list(data[0].columns), x)
    for name, y in data[1].items():
        check_name(name)
        if order_of(data[0]) is not None and order_of(y) is not None and not same_order(order_of(data[0]), order_of(y)):
            raise ValueError(
                f"{where}, task {name!r}: the labels' index holds the inputs' in another order, and rows are matched "
                "by position; use y.loc[x.index]."
            )
    tables = {"": data[0], **{name: y for name, y in data[1].items()}}
    columns = {name: found for name, table in tables.items() if (found := columns_of(table)) is not None}
    return LabelPart(where, x, {name: _labels(where, name, y, x) for name, y in data[1].items()}, columns)


def _labels(where: str, name: str, y: Any, x: Any) -> NumberArray:
    what = f"{where}, task {name!r}: labels"
    found = to_numbers(what, opened(what, y))
    shape = found.array.shape
    if found.array.ndim == 0:
        raise ValueError(
            f"{where}, task {name!r}: labels are numbers [N] or [N, labels], got {found.array.dtype} of shape {shape}."
        )
    if len(found.array) != len(x):
        way = "; use ravel()" if shape == (1, len(x)) else "; use x.T" if shape[0] in x.shape[1:2] else ""
        raise ValueError(f"{where}: task {name!r} has {shape[0]} labels for {len(x)} inputs{way}.")
    return found
