"""Devices, and rows of arrays as tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.bounds import shown
from fedmtl.core.field_types import check_type
from fedmtl.core.trees import tree_map


def check_device(device: str) -> None:
    """Refuse a name that is no device of torch's; whether this machine has it is seen at its first use.

    Raises:
        ValueError: it names the device.
    """
    check_type("device", device, str)
    try:
        torch.device(device)
    except RuntimeError:
        raise ValueError(f"device is one of torch's, such as 'cpu', 'cuda' or 'cuda:1', got {shown(device)}.") from None


def to_device(tree: Any, device: str) -> Any:
    """Return the tree with its tensors on a device; the tree itself when no device but the CPU exists."""
    if device == "cpu" and not torch.cuda.is_available():
        return tree
    return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, tree)


def gather_rows(tree: Any, rows: NDArray[np.int64]) -> Any:
    """Return rows of a tree of arrays [K, …] as new contiguous tensors."""
    return tree_map(lambda leaf: _gather_leaf(leaf, rows), tree)


def _gather_leaf(leaf: Any, rows: NDArray[np.int64]) -> Tensor:
    if isinstance(leaf, Tensor):
        return leaf.detach().index_select(0, torch.from_numpy(rows))
    return torch.from_numpy(np.asarray(leaf)[rows])  # from a memory-mapped file, only these rows are read


def to_tensor(leaf: Any) -> Tensor:
    """Return an array as a tensor; a read-only array is copied, because torch has no read-only tensors."""
    if isinstance(leaf, np.ndarray) and not leaf.flags.writeable:
        leaf = leaf.copy()
    return torch.as_tensor(leaf)
