"""Names in place of numbers: of clients, and of classes in labels that are texts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.data.numbers import is_numeral
from fedmtl.tasks.base import Task
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.names import class_names, clean
from fedmtl.tasks.ordinal import Ordinal


def number_clients(clients: Mapping[Any, Any]) -> tuple[dict[int, Any], dict[int, str]]:
    """Clients by number, and number -> name; of names, numbers follow their alphabetical order.

    Raises:
        ValueError: a client that has neither a whole number from 0 nor a name, or numbers and names mixed.
    """
    named = [client for client in clients if isinstance(client, str)]
    if len(named) == len(clients):
        for client in named:
            if not client.strip():
                raise ValueError(f"A client's name is a text that is not empty, got {client!r}; name it or number it.")
        order = sorted(named)
        return {number: clients[name] for number, name in enumerate(order)}, dict(enumerate(map(clean, order)))
    for client in clients:
        if not isinstance(client, int | np.integer) or isinstance(client, bool) or client < 0:
            raise ValueError(
                f"Clients have names, all of them, or whole numbers from 0, got {shown(client)}; number or name the "
                "clients."
            )
    return {int(client): data for client, data in clients.items()}, {}


def number_labels(clients: Mapping[int, Any], tasks: Mapping[str, Task]) -> tuple[dict[int, Any], dict[str, Task]]:
    """The clients with texts among the labels as classes, and the tasks with one more for each task of such labels.

    Classes are the names of the task that is given, or all texts of all clients in alphabetical order, of a
    ``MultiClass`` without names, too. None, NaN and
    the like stand for "not labelled". Labels that are texts of numbers, and whatever is no label, stay as they are.

    Raises:
        ValueError: a text that is none of the task's names, or texts for a task that takes numbers.
    """
    texts: dict[str, set[str]] = {}
    for _, _, name, y in _labels(clients):
        found = _texts(y)
        if found is not None:
            texts.setdefault(name, set()).update(str(label) for label in found[~_is_gap(found)])
    numbers: dict[str, dict[str, int]] = {}
    given = dict(tasks)
    for name, seen in sorted(texts.items()):
        task = tasks.get(name)
        if task is None and len(seen) > 1 and not all(map(is_numeral, seen)):
            given[name] = task = MultiClass(len(seen), tuple(sorted(seen)))
            numbers[name] = {label: number for number, label in enumerate(sorted(seen))}
        elif isinstance(task, MultiClass | Ordinal) and class_names(task):
            numbers[name] = {label: number for number, label in enumerate(class_names(task))}
            if unknown := sorted(seen - numbers[name].keys()):
                classes = ", ".join(class_names(task)[:10])
                raise ValueError(
                    f"Task {name!r}: label {shown(unknown[0])} is none of its classes {classes}; correct the label, or "
                    "add the class to names."
                )
        elif task is not None and not all(map(is_numeral, seen)):
            if isinstance(task, Ordinal):
                raise ValueError(
                    f"Task {name!r}: labels are texts, {', '.join(map(shown, sorted(seen)[:10]))}, whose order is not "
                    "known; give it, from the lowest, Ordinal(names=[…])."
                )
            if not isinstance(task, MultiClass) or task.num_classes != len(seen):
                raise ValueError(
                    f"Task {name!r}: labels are texts, {', '.join(map(shown, sorted(seen)[:10]))}, and {task!r} takes "
                    "numbers; leave its kind out, for classes with these names, or give numbers, such as "
                    f"y == {max(seen)!r}."
                )
            given[name] = replace(task, names=tuple(sorted(seen)))
            numbers[name] = {label: number for number, label in enumerate(sorted(seen))}
    if not numbers:
        return dict(clients), given
    return {client: _numbered(data, numbers) for client, data in clients.items()}, given


def _labels(clients: Mapping[int, Any]) -> Iterator[tuple[int, str, str, Any]]:
    """Client, part, task and labels, of clients that have the form of ``from_arrays``."""
    for client, data in clients.items():
        for part, examples in data.items() if isinstance(data, Mapping) else [("", data)]:
            for one in examples.values() if isinstance(examples, Mapping) else [examples]:
                if isinstance(one, tuple | list) and len(one) == 2 and isinstance(one[1], Mapping):
                    yield from ((client, part, name, y) for name, y in one[1].items())


def _texts(y: Any) -> NDArray[Any] | None:
    """The labels, [N] objects, where all that are there are texts."""
    if hasattr(y, "toarray") or hasattr(y, "columns") or not hasattr(y, "__len__") or isinstance(y, str | bytes):
        return None
    dtype = str(getattr(y, "dtype", "object")).lower()
    if not (dtype.startswith(("object", "<u", ">u", "str", "category")) or "string" in dtype):
        return None
    try:
        found = np.asarray(y, dtype=object)
    except (ValueError, TypeError, RuntimeError):
        return None
    known = found[~_is_gap(found)] if found.ndim == 1 else found
    return found if found.ndim == 1 and len(known) and all(isinstance(label, str) for label in known) else None


def _is_gap(found: NDArray[Any]) -> NDArray[np.bool_]:
    """Entries without a label: None, NaN, pandas' NA."""
    names = ("NoneType", "NAType", "NaTType")
    gaps = [type(one).__name__ in names or (isinstance(one, float) and one != one) for one in found.ravel()]
    return np.array(gaps, bool).reshape(found.shape)


def _numbered(data: Any, numbers: Mapping[str, Mapping[str, int]]) -> Any:
    if isinstance(data, Mapping):
        return {part: _numbered(examples, numbers) for part, examples in data.items()}
    if not (isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[1], Mapping)):
        return data
    labels = {name: _coded(y, numbers[name]) if name in numbers else y for name, y in data[1].items()}
    return data[0], labels


def _coded(y: Any, numbers: Mapping[str, int]) -> Any:
    found = _texts(y)
    if found is None:
        return y
    gaps = _is_gap(found)
    if not gaps.any():
        return np.array([numbers[str(label)] for label in found], np.int64)
    return np.array([np.nan if gap else numbers[str(label)] for label, gap in zip(found, gaps, strict=True)])
