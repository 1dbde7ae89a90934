"""Inputs with names, of unlike shape, of the tasks that are labelled on them: an image for one, a table for another."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.input_forms import LARGEST_WHOLE, InputForm, InputForms, to_rows
from fedmtl.core.suggest import did_you_mean
from fedmtl.data.disk_open import in_memory
from fedmtl.data.inputs import to_inputs
from fedmtl.data.labels import LabelPart


def named_parts(parts: Sequence[LabelPart], names: Sequence[str]) -> list[str]:
    """Return the input of each set of examples; none where inputs need no names, as all have one shape.

    A set without a name is of the input of its tasks.

    Args:
        parts: the sets of all clients.
        names: of their inputs; empty for a set that has none.

    Raises:
        ValueError: a task that is labelled on two inputs, or a set whose tasks have none in common.
    """
    pairs = list(zip(parts, names, strict=True))
    shapes = {part.x.shape[1:] for part in parts}
    if not any(names) or (len(shapes) == 1 and all(not name or list(part.y) == [name] for part, name in pairs)):
        return []
    owner: dict[str, tuple[str, str]] = {}
    for part, name in pairs:
        for task in part.y if name else ():
            before, where = owner.setdefault(task, (name, part.where))
            if before != name:
                raise ValueError(
                    f"{part.where}: task {task!r} is labelled on the input {name!r}, and on {before!r} ({where}); a "
                    "task has one input: give its examples one name at all clients, and parts the names 'train' and "
                    "'test'."
                )
    return [name or _of_tasks(part, owner) for part, name in pairs]


def _of_tasks(part: LabelPart, owner: Mapping[str, tuple[str, str]]) -> str:
    found = {owner[task][0] for task in part.y if task in owner}
    unknown = [task for task in part.y if task not in owner]
    if len(found) != 1 or unknown:
        what = f"task {unknown[0]!r} has none" if unknown else f"its tasks have the inputs {', '.join(sorted(found))}"
        raise ValueError(
            f"{part.where}: other clients' inputs have names, and {what}; give {{name of the input: (x, {{task: "
            f"labels}})}}.{did_you_mean(unknown[0], owner) if unknown else ''}"
        )
    return found.pop()


def in_rows(parts: Sequence[LabelPart], names: Sequence[str]) -> tuple[InputForms, list[NDArray[np.float32]]]:
    """Return the forms of all inputs, and each set's examples as rows of one shape.

    Raises:
        ValueError: what ``to_inputs`` refuses of the sets of an input, large ones on disk, or whole numbers that
            float32 does not hold.
    """
    forms: dict[str, InputForm] = {}
    arrays: list[NDArray[Any]] = [part.x for part in parts]
    for name in sorted(set(names)):
        places = [place for place, own in enumerate(names) if own == name]
        held = [in_memory(parts[place].where, parts[place].x) for place in places]
        own = to_inputs(held, lambda k, places=places: parts[places[k]].where)
        for place, array in zip(places, own, strict=True):
            arrays[place] = array
        tasks = tuple(sorted({task for place in places for task in parts[place].y}))
        forms[name] = form_of(name, own, tasks)
    return forms, [to_rows(forms, name, array) for name, array in zip(names, arrays, strict=True)]


def form_of(name: str, arrays: Iterable[NDArray[Any]], tasks: tuple[str, ...]) -> InputForm:
    """Return the form of an input from its arrays, all int64 or all float32.

    Raises:
        ValueError: whole numbers that float32 does not hold.
    """
    some = list(arrays)
    whole = all(array.dtype.kind == "i" for array in some)
    most = max((int(np.abs(array).max()) for array in some if array.size), default=0) if whole else 0
    if most > LARGEST_WHOLE:
        raise ValueError(
            f"Input {name!r}: whole numbers of inputs with names are at most {LARGEST_WHOLE}, got {most}; number the "
            "values from 0."
        )
    return InputForm(tuple(some[0].shape[1:]), whole, tasks)
