"""Where and with how many threads clients are trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.trees import tree_map


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch uses one thread: clients' products are small, and results must not depend on the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def to_device(tree: Any, device: str) -> Any:
    """The tree with its tensors on a device; itself when they are there already."""
    if device == "cpu" and not torch.cuda.is_available():
        return tree
    return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, tree)


def take(tree: Any, rows: NDArray[np.int64]) -> Any:
    """Rows of a tree of arrays [K, …] as fresh contiguous tensors."""
    return tree_map(lambda leaf: take_leaf(leaf, rows), tree)


def take_leaf(leaf: Any, rows: NDArray[np.int64]) -> Tensor:
    if isinstance(leaf, Tensor):
        return leaf.detach().index_select(0, torch.from_numpy(rows))
    return torch.from_numpy(np.asarray(leaf)[rows])  # of a memory-mapped file, only these rows are read


def to_tensor(leaf: Any) -> Tensor:
    """A tensor of an array, which is copied if it is read-only: torch has no such tensors."""
    if isinstance(leaf, np.ndarray) and not leaf.flags.writeable:
        leaf = leaf.copy()
    return torch.as_tensor(leaf)
