"""Types between a node and its engines: cohorts of clients, lazy rows, output buffers, task padding."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.context import Context, ContextRows
from fedmtl.core.types import Batch, ClientId, Params, Payload, TaskSet
from fedmtl.engines.traits import EngineTraits

ClientFn = Callable[[Payload, Any, Sequence[Batch], Context], Any]
"""(down, private, batches, ctx) -> a tree of tensors: training or measurement of one client."""


@dataclass(frozen=True)
class LazyRows:
    """Rows of an array, copied only on demand."""

    source: Tensor
    """[N, …], contiguous."""
    index: Tensor
    """Row numbers, [k, B] int64."""

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
        """Return the strides of the copy."""
        shape = self.shape
        return tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))

    def copy(self) -> Tensor:
        """Return the rows as a contiguous tensor [k, B, …]."""
        return self.source.index_select(0, self.index.reshape(-1)).reshape(self.shape)


OutputBuffers = Callable[[Any], list[Tensor | None]]
"""A tree of results -> for each leaf an array [K, …] to write it to, or None for a new tensor."""


class Cohort(NamedTuple):
    """K clients of one function and one set of tasks, stacked: row k of every array is client k's."""

    clients: Sequence[ClientId]
    function: ClientFn
    """Cohorts whose function is the same object do the same work."""
    downs: Sequence[Payload]
    """The distinct broadcasts; one, when all clients receive the same."""
    broadcast_index: NDArray[np.int64]
    """[K] index into ``downs`` of each client's broadcast."""
    private: Any
    """A tree of arrays [K, …], read-only."""
    steps: NDArray[np.int64]
    """[K] number of batches of each client."""
    batches: Callable[[NDArray[np.int64]], Sequence[Batch]]
    """Rows of k clients -> their batches, each [k, B, …], padded with mask 0 to the number of the longest client."""
    owned: TaskSet
    """The clients' tasks, for engines that run clients with different tasks together."""
    lazy_batches: Callable[[NDArray[np.int64]], list[Mapping[str, Tensor | LazyRows]]] | None = None
    """The batches without a copy of the examples, for engines that can read them in place."""
    output_buffers: OutputBuffers | None = None
    """Buffers for the results, for engines that can write them in place."""
    context: ContextRows | None = None
    """Contexts of the clients; None where the function reads none, which is then called with ``NO_CONTEXT``."""
    bytes_read: NDArray[np.int64] | None = None
    """[K] bytes of each client's inputs, where these are on disk and are read for its batches; None in memory."""


class TaskPadding(NamedTuple):
    """The work of a client that owns every task, so that an engine can run clients with different tasks together."""

    function: ClientFn
    """Reads, besides a client's own batches, ``owns`` [B, tasks]: 1 for tasks that the client owns, 0 for padding."""
    heads: Params
    """A padded head for each task that a client may lack: zeros, which add nothing to norms."""
    label_shapes: Mapping[str, tuple[int, ...]]
    """Task, in order -> shape of one label."""


class Engine(Protocol):
    """Runs cohorts. Engines differ in speed, and in results by floating-point rounding alone."""

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        """Return for each cohort a tree of arrays [K, …].

        Row k is ``function(downs[broadcast_index[k]], private of k, batches of k, context of k)``. With ``padding``, an
        engine may call ``padding.function`` instead, on clients padded to all tasks.
        """
        ...


class NamedEngine(Engine, Protocol):
    """An engine that an experiment can name: a frozen dataclass of its settings."""

    @property
    def traits(self) -> EngineTraits:
        """An attribute of the class, or a property."""
        ...

    @property
    def device(self) -> str:
        """The torch device that clients are trained on."""
        ...

    def on(self, device: str) -> "Engine":
        """Return a new engine of the same settings for a device, without what this one has learnt of its work."""
        ...
