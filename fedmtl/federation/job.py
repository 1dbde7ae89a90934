"""How a node runs one pure function for each of its clients."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from fedmtl.types import Batch, ClientId, Payload

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


class Engine(Protocol):
    """A way to run jobs. Engines differ in speed, and in results by float rounding alone."""

    def map(self, jobs: Sequence[Job]) -> list[Any]:
        """``job.function(job.down, job.private, job.batches)`` for each job, in the order of the jobs."""
        ...
