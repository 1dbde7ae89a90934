"""IID: examples dealt at random, in numbers that differ by at most one."""

from dataclasses import dataclass

from fedmtl.data.partition import iid
from fedmtl.data.partitions.base import Dealt, ExampleFacts, need_clients


@dataclass(frozen=True)
class IID:
    """All clients are alike but for randomness."""

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        need_clients(self, clients)
        return Dealt(iid(examples.total, clients, seed))
