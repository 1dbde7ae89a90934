"""Weights of classes in the loss, against imbalance.

An example of class c counts w_c times in the sum of losses, and once in the number that the sum is divided by. So the
mean of clients' losses by their examples is that of all examples together, whatever classes each client has; divided
by the sum of weights instead, as torch's losses are, a client of one class would train as if there were none.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.checks import is_finite

BALANCED = "balanced"
"""In place of weights: w_c = n / (C n_c), n_c of all clients' n training labels being of class c, of C that occur."""

ClassWeights = Sequence[float] | str

Kind = TypeVar("Kind", bound=Any)


def checked_weights(kind: str, weights: Any, count: int) -> tuple[float, ...] | str:
    """Weights as a tuple, () for none, or "balanced".

    Raises:
        ValueError: something else, or another number of weights; it begins with the kind of task.
    """
    if isinstance(weights, str) and weights == BALANCED:
        return weights
    found = tuple(weights) if isinstance(weights, tuple | list | np.ndarray) else None
    if found is None or not all(is_finite(w) and w >= 0 for w in found) or (found and not any(found)):
        raise ValueError(
            f"{kind}: class_weights are numbers of at least 0, not all 0, one for each class, or {BALANCED!r}, got "
            f"{weights!r}."
        )
    if found and len(found) != count:
        raise ValueError(f"{kind}: there are {count} classes, and {len(found)} class_weights; weigh each, or none.")
    return tuple(float(w) for w in found)


def settled(task: Any) -> Sequence[float]:
    """Weights of a task's classes as numbers, () for none.

    Raises:
        ValueError: they are yet to be taken from labels.
    """
    weights: Any = task.class_weights
    if weights == BALANCED:
        raise ValueError(
            f"{task!r} has no weights yet; from_arrays takes them from all clients' training labels, elsewhere give "
            "class_weights=(…), one number for each class."
        )
    return weights


def with_balanced(task: Kind, labels: Sequence[NDArray[Any]], count: int) -> Kind:
    """Return the task with w_c = n / (C n_c) for "balanced", as scikit-learn's; 1 for a class without a label.

    Args:
        task: a frozen dataclass with ``class_weights``; other weights stay.
        labels: of all clients, as the user gave them.
        count: the number of classes.

    Raises:
        ValueError: no label.
    """
    if task.class_weights != BALANCED:
        return task
    seen = np.zeros(count, np.int64)
    for y in map(task.labels, labels):
        seen += np.bincount(y[~np.isnan(y)].astype(np.int64), minlength=count)
    if not seen.any():
        raise ValueError(f"{task!r} has no training label to balance classes by; give class_weights=(…).")
    occur = int((seen > 0).sum())
    weights = np.where(seen > 0, seen.sum() / (occur * np.maximum(seen, 1)), 1.0)
    return replace(task, class_weights=tuple(float(w) for w in weights))


def weighted(losses: Tensor, target: Tensor, weights: Sequence[float]) -> Tensor:
    """Losses times the weight of each one's class; the losses themselves where there are no weights.

    Args:
        losses: of examples.
        target: their classes, of the same shape but for leading dimensions of 1.
        weights: of the classes.
    """
    if not weights:
        return losses
    return losses * weights_like(weights, losses)[target.long()]


def weights_like(weights: Sequence[float], losses: Tensor) -> Tensor:
    """Weights as a tensor of the type and device of losses; torch.tensor with a device is refused in a transform."""
    return torch.from_numpy(np.array(weights, np.float64)).to(device=losses.device, dtype=losses.dtype)


def shown(weights: ClassWeights) -> str:
    """The field in a task's text, after other fields; nothing where there are no weights."""
    return f", class_weights={weights!r}" if weights else ""
