"""Inputs of unlike shape as rows of one shape: the place of the row's input, and its numbers.

    row = [place, numbers …, 0 …]        float32, of 1 + the most numbers of an input                              (1)

``place`` is that of the input's name among all, in alphabetical order. Rows cost memory for the largest input each;
everything between a file and a model's stems, batches, engines and raw data, sees rows of one shape.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.types import TaskSet

LARGEST_WHOLE = 2**24
"""Whole numbers up to it are exact in float32."""


class InputForm(NamedTuple):
    """One input."""

    shape: tuple[int, ...]
    """Shape of one example."""
    whole: bool
    """True where all clients' numbers are whole, such as tokens or bytes."""
    tasks: TaskSet
    """The tasks that are labelled on it."""


InputForms = Mapping[str, InputForm]
"""Name -> form of each input; empty where all examples have one shape."""


def row_shape(forms: InputForms) -> tuple[int, ...]:
    """Return the shape of a row (1)."""
    return (1 + max(prod(form.shape) for form in forms.values()),)


def to_rows(forms: InputForms, name: str, x: NDArray[Any]) -> NDArray[np.float32]:
    """Return examples of an input, [N, …], as rows (1), [N, width]."""
    rows = np.zeros((len(x), *row_shape(forms)), np.float32)
    rows[:, 0] = sorted(forms).index(name)
    rows[:, 1 : 1 + prod(forms[name].shape)] = x.reshape(len(x), -1)
    return rows


def is_of(forms: InputForms, name: str, rows: Tensor) -> Tensor:
    """Return which rows, [B, width], are of an input: [B] of 0 and 1."""
    return (rows[:, 0] == sorted(forms).index(name)).to(rows.dtype)


def from_rows(form: InputForm, own: Tensor, rows: Tensor, integer: bool) -> Tensor:
    """Return the examples of an input, [B, *shape]: 0 in rows of other inputs.

    Args:
        form: of the input.
        own: 1 where a row is of it, [B].
        rows: (1), [B, width].
        integer: whether they are int64.
    """
    numbers = torch.where(own[:, None] > 0, rows[:, 1 : 1 + prod(form.shape)], 0.0)
    found = numbers.unflatten(1, form.shape)
    return found.long() if integer else found


def inputs_of(forms: InputForms, owned: TaskSet) -> tuple[str, ...]:
    """Return the inputs of a client's tasks, in alphabetical order."""
    return tuple(name for name in sorted(forms) if any(task in owned for task in forms[name].tasks))


def input_of(forms: InputForms, task: str) -> str:
    """Return the input that a task is labelled on."""
    return next(name for name, form in forms.items() if task in form.tasks)
