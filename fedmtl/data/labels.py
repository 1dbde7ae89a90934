"""All clients' labels in the form that their tasks take, and the tasks, given or inferred."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.suggest import did_you_mean
from fedmtl.data.infer import infer_task, to_form, with_nan
from fedmtl.data.inputs import floats, join
from fedmtl.data.numbers import NumberArray
from fedmtl.tasks.base import Task
from fedmtl.tasks.precision import LARGEST
from fedmtl.tasks.regression import Regression


class LabelPart(NamedTuple):
    """The examples of one client, or its training or test part: numbers of any type."""

    where: str
    x: NDArray[Any]
    y: Mapping[str, NumberArray]
    columns: Mapping[str, Sequence[Any]] = {}
    """Names of the columns of the tables among them: of x, under "", and of tasks' labels."""


def to_labels(
    parts: Sequence[LabelPart], given: Mapping[str, Task], missing: float | None
) -> tuple[dict[str, Task | None], list[dict[str, NDArray[Any]]]]:
    """The tasks, None for a ``Regression`` yet to be standardised, and each part's labels in the form that they take.

    Args:
        parts: the examples of all clients.
        given: name -> task. Names that are left out are inferred, unless one of ``given`` has no labels: a slip.
        missing: the label that stands for "not labelled".

    Raises:
        ValueError: a name without a task, NaN without ``missing``, infinity, and what ``infer_task`` refuses.
    """
    of_task: dict[str, list[int]] = {}
    for number, part in enumerate(parts):
        for name in part.y:
            of_task.setdefault(name, []).append(number)
    unknown = sorted(set(of_task) - set(given)) if given else []
    if unknown and not set(given) <= set(of_task):  # a slip in a name, and not a task that is left to be inferred
        raise ValueError(
            f"{parts[of_task[unknown[0]][0]].where}: labels for unknown task {unknown[0]!r}; the tasks are "
            f"{sorted(given)}.{did_you_mean(unknown[0], given)}"
        )
    kinds: dict[str, Task | None] = dict(given)
    found: list[dict[str, NDArray[Any]]] = [{} for _ in parts]
    for name, numbers in sorted(of_task.items()):
        ys = _known([(parts[n].where, parts[n].y[name].array) for n in numbers], name, missing)
        if name not in given:
            # A column is a vector, and what is inferred of it is never a vector of one.
            vectors = [y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y for y in ys]
            kinds[name] = infer_task(name, vectors, any(parts[n].y[name].whole for n in numbers))
        task = kinds[name]
        ys = to_form(Regression() if task is None else task, ys)
        if isinstance(task, Regression | None) and all(y.ndim == 1 for y in ys):
            for number, y in zip(numbers, ys, strict=True):
                _check_size(f"{parts[number].where}, task {name!r}", y)
            ends = np.cumsum([len(y) for y in ys])
            ys = np.split(floats(join(ys)[:, None], f"Task {name!r}: labels")[:, 0], ends[:-1])
        for number, y in zip(numbers, ys, strict=True):
            found[number][name] = np.array(y)
    return kinds, found


def _check_size(where: str, y: NDArray[Any]) -> None:
    beyond = np.abs(y.astype(np.longdouble, copy=False)) > LARGEST
    if beyond.any():
        raise ValueError(
            f"{where}: label {y[beyond][0]} in row {int(np.flatnonzero(beyond)[0])} is beyond float32; scale the "
            "labels of all clients alike."
        )


def _known(parts: Sequence[tuple[str, NDArray[Any]]], name: str, missing: float | None) -> list[NDArray[Any]]:
    """The labels with NaN where not labelled.

    Raises:
        ValueError: NaN without ``missing``, or infinity.
    """
    found = []
    for where, y in parts:
        where = f"{where}, task {name!r}"
        y = with_nan(where, y, missing)
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            unknown, endless = np.isnan(y), np.isinf(y)
            if missing is None and unknown.any():
                raise ValueError(
                    f"{where}: {int(unknown.sum())} label(s) are NaN, the first in row "
                    f"{int(np.argwhere(unknown)[0, 0])}; pass missing=float('nan') if NaN stands for 'not labelled'."
                )
            if endless.any():
                row = int(np.argwhere(endless)[0, 0])
                raise ValueError(
                    f"{where}: {int(endless.sum())} label(s) are infinite, the first in row {row}; labels are finite: "
                    "drop these examples, cut them off at a bound, or pass missing=float('nan') with NaN there."
                )
        found.append(y)
    return found
