"""Sets of examples of one task each: a client whose tasks were labelled on other inputs.

The sets become one set of examples, each labelled for its own task alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.disk import end_to_end, some_rows
from fedmtl.data.partition import hold_out
from fedmtl.data.split import ClientData, Split

PARTS = ("train", "test")


class TaskSets(NamedTuple):
    """A client's sets, of which ``load`` tests on a part of each."""

    sets: tuple[Split, ...]


def are_sets(data: Any) -> bool:
    """True for {task: (x, labels)}, or {input: (x, {task: labels})}."""
    if not isinstance(data, Mapping) or not data or set(data) & set(PARTS):
        return False
    return all(isinstance(name, str) and isinstance(one, tuple | list) and len(one) == 2 for name, one in data.items())


def named_sets(data: Any) -> Any:
    """{task: (x, labels)} as {task: (x, {task: labels})}, of a client or of its parts; other data as it is.

    ({task: x}, {task: labels}) is the same.

    Raises:
        ValueError: inputs by names that are not those of the labels.
    """
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Mapping) for part in data):
        x, y = data
        if set(x) != set(y):
            raise ValueError(
                f"Inputs {', '.join(map(str, x))} and labels {', '.join(map(str, y))} have other names; give {{input: "
                "(x, {task: labels})} where an input has several tasks."
            )
        data = {name: (x[name], y[name]) for name in x}
    if isinstance(data, Mapping) and are_sets(data):
        return {name: (x, y if isinstance(y, Mapping) else {name: y}) for name, (x, y) in data.items()}
    if isinstance(data, Mapping) and set(data) == set(PARTS):
        return {part: named_sets(one) for part, one in data.items()}
    return data


def examples_of(where: str, data: Any) -> list[tuple[str, str, Any]]:
    """(where, name, (x, {task: labels})) of each set of examples: of training and test part, and of tasks of their own.

    The name is that of the input, such as its task's; empty where a client has one set.

    Raises:
        ValueError: a mapping of other parts.
    """
    if not isinstance(data, Mapping):
        return [(where, "", data)]
    if set(data) == set(PARTS):
        return [each for part in PARTS for each in _of_tasks(f"{where}, {part}", data[part])]
    if are_sets(data):
        return _of_tasks(where, data)
    raise ValueError(
        f"{where} has parts {sorted(map(str, data))}; use 'train' and 'test', (x, {{task: labels}}) alone, or {{task: "
        "(x, labels)} where tasks have examples of their own."
    )


def _of_tasks(where: str, data: Any) -> list[tuple[str, str, Any]]:
    if not isinstance(data, Mapping):
        return [(where, "", data)]
    return [(f"{where}, examples of {name!r}", name, one) for name, one in data.items()]


def in_parts(data: Any, splits: Sequence[Split]) -> Split | ClientData | TaskSets:
    """A client's checked sets of examples, in the order of ``examples_of``, in the form of its data."""
    if not isinstance(data, Mapping):
        return splits[0]
    if set(data) != set(PARTS):
        return TaskSets(tuple(splits))
    count = len(data["train"]) if isinstance(data["train"], Mapping) else 1
    return ClientData(joined(splits[:count]), joined(splits[count:]))


def joined(sets: Sequence[Split]) -> Split:
    """Sets of unlike tasks as one, whose labels are NaN in the rows of other sets."""
    if len(sets) == 1:
        return sets[0]
    ends = np.cumsum([len(each.x) for each in sets])
    labels: dict[str, NDArray[Any]] = {}
    for each, end in zip(sets, ends, strict=True):
        for task, y in each.y.items():
            kind = y.dtype if y.dtype.kind == "f" else np.dtype(np.float64)
            labels[task] = np.full((ends[-1], *y.shape[1:]), np.nan, kind)
            labels[task][end - len(y) : end] = y
    return Split(end_to_end([each.x for each in sets]), labels)


def divided(client: int, sets: TaskSets, fraction: float, seed: int) -> ClientData:
    """Training and test part of each set, the tasks' together."""
    parts: tuple[list[Split], list[Split]] = ([], [])
    for each in sets.sets:
        for part, rows in zip(parts, hold_out(len(each.x), fraction, seed, client), strict=True):
            part.append(Split(some_rows(each.x, rows), {task: y[rows] for task, y in each.y.items()}))
    return ClientData(joined(parts[0]), joined(parts[1]))
