"""Rows of a cohort as the arguments of one stacked call."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.trees import tree_leaves, tree_map, tree_unflatten
from fedmtl.core.types import Payload
from fedmtl.engines.base import Cohort, Picked, Places
from fedmtl.engines.device import take, to_device, to_tensor

Rows = NDArray[np.int64]


class Inputs(NamedTuple):
    """Of k clients."""

    down: Payload
    """One for all when ``shared``, else [k, …]."""
    shared: bool
    private: Any
    """A tree of [k, …]."""
    batches: Sequence[Mapping[str, Tensor | Picked]]
    """Each of [k, B, …]."""
    everybody: bool = False
    """Whether the clients are known to be all of their cohort, in order."""


def groups(cohort: Cohort, chunk: int, device: str) -> Iterator[tuple[Payload | None, Rows]]:
    """The rows, sorted by number of steps, with the broadcast that they share.

    A broadcast's hearers go together where there are a chunk of them or more, on average; else all rows go together,
    each with its own broadcast.
    """
    order = np.argsort(cohort.steps, kind="stable")
    heard = np.unique(cohort.which)
    if len(heard) > 1 and len(order) < len(heard) * chunk:
        yield None, order
        return
    for number in heard:
        yield to_device(cohort.downs[number], device), order[cohort.which[order] == number]


def gather(cohort: Cohort, rows: Rows, down: Payload | None, device: str, pick: bool = False) -> Inputs:
    """The inputs of these clients, on the device; ``down`` is the broadcast that they share, None if they do not.

    ``pick``: leave examples where they are, if the cohort can say where that is, and everybody's states too.
    """
    if down is None:
        downs = [cohort.downs[number] for number in cohort.which[rows]]
        columns = zip(*(tree_leaves(own) for own in downs), strict=True)
        heard = tree_unflatten(downs[0], [torch.stack([to_tensor(leaf) for leaf in column]) for column in columns])
    else:
        heard = down
    batches = cohort.picked(rows) if pick and cohort.picked is not None else cohort.batches(rows)
    everybody = pick and np.array_equal(rows, np.arange(len(cohort.clients)))
    private = tree_map(to_tensor, cohort.private) if everybody else take(cohort.private, rows)
    found: tuple[Any, ...] = to_device((heard, private, batches), device)
    return Inputs(found[0], down is not None, found[1], found[2], everybody)


class Rebuilt:
    """Results of chunks, put together in client order."""

    def __init__(self, clients: int, places: Places | None) -> None:
        self._clients = clients
        self._where = places
        self._tree: Any = None
        self._whole: list[Tensor] = []

    def places(self, tree: Any) -> list[Tensor | None]:
        """Where the leaves of a result like this one should be, [clients, …], if somebody has said so."""
        return self._where(tree) if self._where is not None else [None] * len(tree_leaves(tree))

    def put(self, rows: Rows, tree: Any) -> None:
        """Write the first ``len(rows)`` rows of a stacked result; the rest is padding."""
        found = [leaf[: len(rows)].detach().cpu() for leaf in tree_leaves(tree)]
        in_order = bool((rows[1:] == rows[:-1] + 1).all())
        if self._tree is None:
            places = zip(self.places(tree), found, strict=True)
            everybody = in_order and len(rows) == self._clients
            self._tree, self._whole = tree, [self._begin(place, leaf, everybody) for place, leaf in places]
        index = torch.from_numpy(rows)
        for whole, leaf in zip(self._whole, found, strict=True):
            if whole.data_ptr() == leaf.data_ptr():
                continue  # it is there
            if in_order:
                whole[int(rows[0]) : int(rows[-1]) + 1] = leaf
            else:
                whole.index_copy_(0, index, leaf)

    def _begin(self, place: Tensor | None, leaf: Tensor, everybody: bool) -> Tensor:
        if place is not None and (place.shape[1:], place.dtype) == (leaf.shape[1:], leaf.dtype):
            return place
        return leaf if everybody else torch.empty(self._clients, *leaf.shape[1:], dtype=leaf.dtype)

    def tree(self) -> Any:
        return tree_unflatten(self._tree, self._whole)


def shapes(tree: Any, skip: int) -> list[tuple[Any, ...]]:
    """Shape, without the first dimensions, and dtype of each leaf."""
    return [(tuple(leaf.shape[skip:]), str(leaf.dtype).removeprefix("torch.")) for leaf in tree_leaves(tree)]
