"""How a node runs one pure function for each of its clients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from fedmtl.types import Batch, ClientId, Params, Payload, TaskSet

ClientFn = Callable[[Payload, Any, Sequence[Batch]], Any]
"""(down, private, batches) -> a tree of tensors: a client's training or its measurement."""


class Job(NamedTuple):
    """One client's share of the work."""

    client: ClientId
    function: ClientFn
    """Clients whose function is the same object, and whose arrays have the same shapes, can be run together."""
    down: Payload
    private: Any
    batches: Sequence[Batch]
    owned: TaskSet = ()
    """The client's tasks, for engines that run unlike clients together."""


class Wide(NamedTuple):
    """The same work for a client that owns every task, by which an engine may run clients of unlike tasks together."""

    function: ClientFn
    """Reads, besides a client's own batches, ``owns`` [B, tasks]: 1 for the tasks that are really the client's."""
    heads: Params
    """A head for each task, to lend to clients that lack it: zeros, so that norms do not see them."""
    label_shapes: Mapping[str, tuple[int, ...]]
    """Task, in order -> shape of one label."""


class Engine(Protocol):
    """A way to run jobs. Engines differ in speed, and in results by float rounding alone."""

    def map(self, jobs: Sequence[Job], wide: Wide | None = None) -> list[Any]:
        """``job.function(job.down, job.private, job.batches)`` for each job, in the order of the jobs.

        An engine may call ``wide.function`` instead, with what the client lacks lent to it.
        """
        ...
