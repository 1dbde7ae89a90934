"""Labels that are numbers, and the mean and standard deviation by which they are standardised."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.base import Task
from fedmtl.tasks.checks import is_finite, numbers, refuse
from fedmtl.tasks.masked import keep
from fedmtl.tasks.precision import LARGEST, merged_by_float32

Kind = TypeVar("Kind", bound=Any)


def check_scale(kind: str, mean: Any, std: Any) -> None:
    """Refuse a mean that is no finite number, and a std that is no positive one.

    Raises:
        ValueError: it begins with the kind of task.
    """
    if not is_finite(mean):
        raise ValueError(f"{kind} needs a finite mean, got mean={mean!r}.")
    if not (is_finite(std) and std > 0):
        raise ValueError(f"{kind} needs a positive standard deviation, got std={std!r}; 1.0 keeps the unit.")


def check_shape(kind: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of a map of labels, as a tuple.

    Raises:
        ValueError: no whole numbers of at least 1; it begins with the kind of task.
    """
    sizes = tuple(shape) if isinstance(shape, tuple | list) else ()
    if not sizes or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in sizes):
        raise ValueError(f"{kind} needs the shape of one label, such as shape=(28, 28), got shape={shape!r}.")
    return tuple(int(n) for n in sizes)


def number_labels(task: Task, y: NDArray[Any], pooled: bool = False) -> NDArray[Any]:
    """Labels that are numbers as float32, [N, *label_shape], NaN where not labelled.

    Args:
        task: whose labels they are, for messages.
        y: raw labels.
        pooled: whether all entries of a label are numbers of one kind, as the pixels of a map are.

    Raises:
        ValueError: no numbers, another shape, infinity, or distinct labels that merge in float32.
    """
    y = numbers(task, y)
    rule = "labels are finite float32; NaN stands for 'not labelled'."
    refuse(task, y, np.isnan(y) | (np.abs(y) <= LARGEST), rule)
    found = y.astype(np.float32, copy=False)
    columns = (y.reshape(-1, 1), found.reshape(-1, 1)) if pooled else (y, found)
    merged = merged_by_float32(*columns)
    if merged is not None:
        of = f" of column {merged[0]}" if y.ndim == 2 and not pooled else ""
        raise ValueError(
            f"{task!r}: float32 keeps 7 digits, by which {merged[1] - merged[2]} of {merged[1]} distinct labels{of} "
            "merge with others; subtract a constant, the same for all clients."
        )
    return found


def mean_and_std(task: Task, labels: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Mean and standard deviation of all labels, NaN where not labelled.

    Raises:
        ValueError: no label, or labels that are all equal.
    """
    count, mean, std = spread(labels)
    if not std > 0:
        raise ValueError(
            f"{task!r} has {count} training label(s) that never vary, so no std to standardise by; give mean and "
            "std, without standardise=True."
        )
    return mean, std


def spread(labels: Sequence[NDArray[Any]]) -> tuple[int, float, float]:
    """Number, mean and standard deviation of all labels, NaN where not labelled; 0 of each where none is."""
    known = np.concatenate([y[~np.isnan(y)] for y in labels]).astype(np.float64)
    return (known.size, float(known.mean()), float(known.std())) if known.size else (0, 0.0, 0.0)


def standardised(task: Kind, labels: Sequence[NDArray[Any]]) -> Kind:
    """Return a task of ``standardise=True`` with the mean and std of all clients' labels; another as it is.

    Raises:
        ValueError: no label, or labels that are all equal.
    """
    if not task.standardise:
        return task
    mean, std = mean_and_std(task, [task.labels(y) for y in labels])
    return replace(task, mean=mean, std=std, standardise=False)


def check_settled(task: Task, standardise: bool) -> None:
    """Refuse the use of a task whose mean and std are yet to be taken from labels.

    Raises:
        ValueError: it names the ways out.
    """
    if standardise:
        raise ValueError(
            f"{task!r} has no mean and std yet; from_arrays takes them from all clients' training labels, elsewhere "
            "give mean and std, without standardise=True."
        )


def errors(output: Tensor, y: Tensor, counted: Tensor, mean: Any, std: Any) -> Tensor:
    """z − (y − μ)/σ, 0 where nothing is labelled; shapes are y's, or broadcast to it."""
    return keep(output, counted) - keep((y - mean) / std, counted)


def mean_output(outputs: Tensor, weights: Tensor) -> Tensor:
    """Σ_m v_m z_m of outputs [M, …]; a model of weight 0 does not count, NaN included."""
    v = weights.reshape(-1, *[1] * (outputs.ndim - 1))
    return (v * keep(outputs, v > 0)).sum(0)
