"""Classes at each place of an example: pixels of an image, steps of a sequence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.base import Task
from fedmtl.tasks.checks import is_whole, numbers, refuse
from fedmtl.tasks.class_weights import weighted
from fedmtl.tasks.masked import finite, keep, labelled, log_mean, mean_over


def check_void(kind: str, field: str, void: Any, num_classes: int) -> None:
    """Refuse a code for "not labelled" that is a class, or no whole number.

    Raises:
        ValueError: it begins with the kind of task.
    """
    if void is not None and (not is_whole(void) or 0 <= void < num_classes):
        raise ValueError(
            f"{kind}: {field} is a whole number beside the classes 0 to {num_classes - 1}, such as 255 or -1, or None, "
            f"got {field}={void!r}."
        )


def class_labels(task: Task, y: NDArray[Any], num_classes: int, field: str, void: int | None) -> NDArray[Any]:
    """Labels as float32, [N, *label_shape], NaN where not labelled.

    Args:
        task: whose labels they are, for messages.
        y: raw labels.
        num_classes: labels are below it.
        field: the task's name for its code of "not labelled".
        void: that code; None: there is none.

    Raises:
        ValueError: a label that is no class.
    """
    y = numbers(task, y)
    missing = np.isnan(y) if void is None else np.isnan(y) | (y == void)
    allowed = missing | ((y >= 0) & (y < num_classes) & (y == np.floor(y)))
    if not allowed.all():
        rule = (
            f"a class is a whole number from 0 to {num_classes - 1}; {field} is the code of 'not labelled', which is "
            f"{'NaN alone' if void is None else void} here."
        )
        refuse(task, y, allowed, rule)
    found = y.astype(np.float32)
    found[missing] = np.nan
    return found


def entropy(z: Tensor, y: Tensor, mask: Tensor, weights: Sequence[float]) -> Tensor:
    """Mean cross-entropy over the labelled places of unmasked examples.

    Args:
        z: logits, classes first, [K, B, …].
        y: labels, [B, …].
        mask: [B].
        weights: of the classes, or none.
    """
    counted = labelled(y, mask)
    target = keep(y, counted).long()
    log_p = torch.log_softmax(keep(z, counted), dim=0)
    return mean_over(weighted(-log_p.gather(0, target[None])[0], target, weights), counted)


def mixed_logits(outputs: Tensor, weights: Tensor) -> Tensor:
    """log Σ_m v_m softmax(z_m) of outputs [M, B, K, …]."""
    return log_mean(torch.log_softmax(outputs, dim=2), weights)


def predicted(z: Tensor) -> tuple[Tensor, Tensor]:
    """The first of the largest logits [K, B, …], and where its softmax is a number."""
    return z.argmax(0), finite(z.amax(0))  # of NaN and others, the maximum is NaN
