"""How a node runs one pure function for each of its clients."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.types import Batch, ClientId, Params, Payload, TaskSet

ClientFn = Callable[[Payload, Any, Sequence[Batch]], Any]
"""(down, private, batches) -> a tree of tensors: a client's training or its measurement."""


@dataclass(frozen=True)
class Picked:
    """Rows of an array that nobody has copied yet."""

    source: Tensor
    """[N, …], contiguous."""
    index: Tensor
    """Which of them, [k, B] int64."""

    @property
    def shape(self) -> torch.Size:
        return self.index.shape + self.source.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        return self.source.dtype

    @property
    def device(self) -> torch.device:
        return self.source.device

    def stride(self) -> tuple[int, ...]:
        """Of the copy."""
        shape = self.shape
        return tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))

    def copy(self) -> Tensor:
        """[k, B, …]."""
        return self.source.index_select(0, self.index.reshape(-1)).reshape(self.shape)


Places = Callable[[Any], list[Tensor | None]]
"""A tree of results, whatever its leaves are -> for each of them an array [K, …], or None where the caller has none."""


class Cohort(NamedTuple):
    """K clients of one function and one set of tasks, stacked: row k of every array is client k's."""

    clients: Sequence[ClientId]
    function: ClientFn
    """Cohorts whose function is the same object do the same work."""
    downs: Sequence[Payload]
    """The broadcasts that differ; one, when everybody hears the same."""
    which: NDArray[np.int64]
    """[K] client -> its broadcast among ``downs``."""
    private: Any
    """A tree of arrays [K, …]; rows must not be changed."""
    steps: NDArray[np.int64]
    """[K] how many batches each client has."""
    batches: Callable[[NDArray[np.int64]], list[Batch]]
    """Rows of k clients -> their batches, each [k, B, …]: as many as the longest has, the others padded, mask 0."""
    owned: TaskSet
    """The clients' tasks, for engines that run unlike clients together."""
    picked: Callable[[NDArray[np.int64]], list[Mapping[str, Tensor | Picked]]] | None = None
    """The batches without a copy of the examples, for engines that can read them where they are."""
    places: Places | None = None
    """Where to put results, for engines that can choose."""


class Wide(NamedTuple):
    """The same work for a client that owns every task, by which an engine may run clients of unlike tasks together."""

    function: ClientFn
    """Reads, besides a client's own batches, ``owns`` [B, tasks]: 1 for the tasks that are really the client's."""
    heads: Params
    """A head for each task, to lend to clients that lack it: zeros, so that norms do not see them."""
    label_shapes: Mapping[str, tuple[int, ...]]
    """Task, in order -> shape of one label."""


class Engine(Protocol):
    """A way to run cohorts. Engines differ in speed, and in results by float rounding alone."""

    def map(self, cohorts: Sequence[Cohort], wide: Wide | None = None) -> list[Any]:
        """For each cohort a tree of arrays [K, …]: row k is ``function(downs[which[k]], private of k, batches of k)``.

        An engine may call ``wide.function`` instead, with what the clients lack lent to them.
        """
        ...
