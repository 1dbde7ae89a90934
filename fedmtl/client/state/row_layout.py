"""A stacked state as rows of bytes: a row a client, each leaf at a place of its own."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.trees import tree_leaves, tree_unflatten


class Field(NamedTuple):
    """One leaf of a state, in a row."""

    start: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    tensor: bool


def row_layout(states: Any) -> tuple[list[Field], int]:
    """Return the place of each leaf of a stacked tree in a row, each at a multiple of 8, and the row's bytes."""
    fields, end = [], 0
    for leaf in tree_leaves(states):
        tensor = isinstance(leaf, Tensor)
        array = leaf.detach().numpy() if tensor else np.asarray(leaf)
        count = math.prod(array.shape[1:]) * array.dtype.itemsize
        fields.append(Field(end, end + count, array.dtype, array.shape[1:], tensor))
        end += -(-count // 8) * 8
    return fields, end


def to_rows(states: Any, fields: list[Field], size: int, count: int) -> NDArray[np.uint8]:
    rows = np.zeros((count, size), np.uint8)
    for leaf, field in zip(tree_leaves(states), fields, strict=True):
        array = leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
        rows[:, field.start : field.end].view(field.dtype)[:] = array.reshape(count, math.prod(field.shape))
    return rows


def from_rows(rows: NDArray[np.uint8], fields: list[Field], template: Any) -> Any:
    found = []
    for field in fields:
        array = rows[:, field.start : field.end].view(field.dtype).reshape(len(rows), *field.shape)
        found.append(torch.from_numpy(array) if field.tensor else array)
    return tree_unflatten(template, found)
