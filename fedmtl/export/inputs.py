"""New examples for a model, checked: numbers of the shape and the type that it was trained on."""

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmtl.data.inputs import check_finite
from fedmtl.data.numbers import to_numbers

WHERE = "x"
"""Begins messages about the examples."""


def checked_inputs(x: Any, input_shape: tuple[int, ...], integer_inputs: bool, where: str = WHERE) -> Tensor:
    """Return examples as a tensor, [N, *input_shape], float32, or int64 for a model of tokens.

    Args:
        x: an array, a tensor, a list, or a table whose columns are the features.
        input_shape: of one example.
        integer_inputs: whether the model takes whole numbers.
        where: begins the message of an error.

    Raises:
        ValueError: another shape, NaN, infinity, or fractions where tokens are expected.
    """
    array = to_numbers(where, x).array
    shape = tuple(input_shape)
    if array.shape[1:] != shape:
        raise ValueError(f"{where}: {_misfit(array.shape, shape)}")
    check_finite(array, np.array([0, len(array)]), lambda _: where)
    if not integer_inputs:
        return torch.from_numpy(array.astype(np.float32))
    if array.dtype.kind == "f" and (array != np.floor(array)).any():
        raise ValueError(
            f"{where}: the model takes whole numbers, such as tokens, and {array[array != np.floor(array)][0]} is none."
        )
    return torch.from_numpy(array.astype(np.int64))


def _misfit(found: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The message about examples of another shape."""
    if found == shape:
        return f"one example has shape {shape}; give examples [N, …], such as x[None] for this one."
    if len(found) == len(shape) + 1 == 2:
        return (
            f"examples have {found[1]} features, and the run's have {prod(shape)}; give the same ones, in the same "
            "order."
        )
    return f"examples are [N, {', '.join(map(str, shape))}] as in the run, got {list(found)}."
