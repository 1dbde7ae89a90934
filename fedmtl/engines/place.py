"""Where and with how many threads clients are trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fedmtl.trees import tree_map


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
