"""Raw labels, looked at once: what every task asks of an array before it becomes float32."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.tasks.base import Task


def is_whole(value: Any) -> bool:
    """True where a task's field is a whole number."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """True where a task's field is a finite number."""
    return isinstance(value, int | float | np.integer | np.floating) and bool(np.isfinite(value))


def numbers(task: Task, y: NDArray[Any]) -> NDArray[Any]:
    """The labels as an array of numbers, [N, *label_shape].

    Raises:
        ValueError: not numbers, or another shape.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{task!r} takes numbers as labels, got dtype {y.dtype}; code names as whole numbers from 0.")
    if y.ndim == 0 or y.shape[1:] != task.label_shape:
        wanted = ", ".join(["N", *map(str, task.label_shape)]) + ("" if task.label_shape else ",")
        raise ValueError(f"{task!r} takes labels of shape ({wanted}), got {y.shape}; reshape or select columns.")
    return y


def refuse(task: Task, y: NDArray[Any], allowed: NDArray[np.bool_], rule: str) -> None:
    """Raise for the first label that is not allowed.

    Args:
        task: who refuses, for the message.
        y: labels, [N, …].
        allowed: of the same shape.
        rule: what labels may be and the way out, the message's end.

    Raises:
        ValueError: a label is not allowed.
    """
    if not allowed.all():
        place = tuple(int(i) for i in np.argwhere(~allowed)[0])
        inside = f", column {place[1]}" if len(place) == 2 else f", at {list(place[1:])}" if place[1:] else ""
        where = f"row {place[0]}{inside}"
        raise ValueError(f"{task!r} got label {y[place].item()} in {where} ({int((~allowed).sum())} such): {rule}")


def possible(task: Task, sums: NDArray[np.float64], most: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the mask [K] of the rows of sums [K, s] that some prediction can have.

    They are finite, count from 0 to ``most`` examples in whole numbers, and fulfil the task's ``possible_sums``. Of a
    task without that method the metric must be finite.

    Args:
        task: whose sums they are.
        sums: sufficient statistics, a row a client.
        most: test examples that each client has, infinity where that is not known, [K].
    """
    count = sums[:, 0]
    good = np.isfinite(sums).all(axis=1) & (count >= 0) & (count <= most) & (count == np.floor(count))
    bounded: Any = task
    if task.traits.possible_sums:
        return good & bounded.possible_sums(np.where(good[:, None], sums, 0.0))
    for k in np.flatnonzero(good & (count > 0)).tolist():
        try:
            good[k] = bool(np.isfinite(task.metric(sums[k])))
        except (ArithmeticError, ValueError):  # numbers that its author did not think of
            good[k] = False
    return good
