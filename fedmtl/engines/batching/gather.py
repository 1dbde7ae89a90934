"""Gather rows of a cohort as the inputs of one stacked call, and assemble the results."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.context import ContextRows
from fedmtl.core.trees import tree_leaves, tree_map, tree_unflatten
from fedmtl.core.types import Payload
from fedmtl.engines.base import Cohort, LazyRows, OutputBuffers
from fedmtl.engines.device import gather_rows, to_device, to_tensor

GatheredRows = NDArray[np.int64]


class Inputs(NamedTuple):
    """Inputs of one stacked call of k clients."""

    down: Payload
    """One broadcast for all k clients when ``shared``, else [k, …]."""
    shared: bool
    private: Any
    """A tree of [k, …]."""
    batches: Sequence[Mapping[str, Tensor | LazyRows]]
    """Each of [k, B, …]."""
    whole: bool = False
    """True if the clients are known to be all clients of their cohort, in order."""
    context: ContextRows | None = None
    """Each of [k, …]; None if the function reads none."""
    large: bool = False
    """True if the clients' layers run one by one."""


def groups(cohort: Cohort, chunk: int, device: str) -> Iterator[tuple[Payload | None, GatheredRows]]:
    """Yield the rows, sorted by number of steps, with the broadcast that they share.

    Clients are grouped by broadcast where a broadcast has a chunk of clients or more, on average; else all rows form
    one group without a shared broadcast.
    """
    order = np.argsort(cohort.steps, kind="stable")
    received = np.unique(cohort.broadcast_index)
    if len(received) > 1 and len(order) < len(received) * chunk:
        yield None, order
        return
    for number in received:
        yield to_device(cohort.downs[number], device), order[cohort.broadcast_index[order] == number]


def gather(
    cohort: Cohort, rows: GatheredRows, down: Payload | None, device: str, lazy: bool = False, large: bool = False
) -> Inputs:
    """Return the inputs of these clients, on the device.

    Args:
        cohort: of the clients.
        rows: of the clients in the cohort.
        down: the broadcast that they share; None if their broadcasts differ.
        device: of the inputs.
        lazy: do not copy examples, if the cohort has lazy batches, nor the states of a whole cohort.
        large: of the clients.
    """
    if down is None:
        downs = [cohort.downs[number] for number in cohort.broadcast_index[rows]]
        columns = zip(*(tree_leaves(own) for own in downs), strict=True)
        received = tree_unflatten(downs[0], [torch.stack([to_tensor(leaf) for leaf in column]) for column in columns])
    else:
        received = down
    batches = cohort.lazy_batches(rows) if lazy and cohort.lazy_batches is not None else cohort.batches(rows)
    whole = lazy and np.array_equal(rows, np.arange(len(cohort.clients)))
    private = tree_map(to_tensor, cohort.private) if whole else gather_rows(cohort.private, rows)
    found: tuple[Any, ...] = to_device((received, private, batches, gather_rows(cohort.context, rows)), device)
    return Inputs(found[0], down is not None, found[1], found[2], whole, found[3], large)


class ResultAssembler:
    """Assembles the results of chunks in client order."""

    def __init__(self, clients: int, output_buffers: OutputBuffers | None) -> None:
        self._clients = clients
        self._output_buffers = output_buffers
        self._tree: Any = None
        self._outputs: list[Tensor] = []

    def buffers(self, tree: Any) -> list[Tensor | None]:
        """Return the caller's buffers [clients, …] for the leaves of a result; None where it has none."""
        return self._output_buffers(tree) if self._output_buffers is not None else [None] * len(tree_leaves(tree))

    def put(self, rows: GatheredRows, tree: Any) -> None:
        """Write the first ``len(rows)`` rows of a stacked result; the rest is padding."""
        found = [leaf[: len(rows)].detach().cpu() for leaf in tree_leaves(tree)]
        in_order = bool((rows[1:] == rows[:-1] + 1).all())
        if self._tree is None:
            pairs = zip(self.buffers(tree), found, strict=True)
            whole = in_order and len(rows) == self._clients
            self._tree, self._outputs = tree, [self._allocate(buffer, leaf, whole) for buffer, leaf in pairs]
        index = torch.from_numpy(rows)
        for output, leaf in zip(self._outputs, found, strict=True):
            if output.data_ptr() == leaf.data_ptr():
                continue  # written in place
            if in_order:
                output[int(rows[0]) : int(rows[-1]) + 1] = leaf
            else:
                output.index_copy_(0, index, leaf)

    def _allocate(self, buffer: Tensor | None, leaf: Tensor, whole: bool) -> Tensor:
        if buffer is not None and (buffer.shape[1:], buffer.dtype) == (leaf.shape[1:], leaf.dtype):
            return buffer
        return leaf if whole else torch.empty(self._clients, *leaf.shape[1:], dtype=leaf.dtype)

    def tree(self) -> Any:
        return tree_unflatten(self._tree, self._outputs)


def shapes(tree: Any, skip: int) -> list[tuple[Any, ...]]:
    """Return the shape, without the first ``skip`` dimensions, and the dtype of each leaf."""
    return [(tuple(leaf.shape[skip:]), str(leaf.dtype).removeprefix("torch.")) for leaf in tree_leaves(tree)]
