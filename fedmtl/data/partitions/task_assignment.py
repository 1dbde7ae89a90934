"""TaskAssignment: clients that own some of the tasks each, over any partition of the examples.

Clients take, one after another, the tasks that have the fewest owners so far: numbers of owners differ by at most one.
"""

from dataclasses import dataclass

from fedmtl.core.random import SERVER, rng
from fedmtl.data.partitions.base import Dealt, ExampleFacts, Partitioner
from fedmtl.data.partitions.iid import IID


@dataclass(frozen=True)
class TaskAssignment:
    """Labels of tasks that a client does not own are left out of its examples."""

    tasks_per_client: int = 1
    partition: Partitioner = IID()

    def __post_init__(self) -> None:
        if self.tasks_per_client < 1:
            raise ValueError(
                f"TaskAssignment: a client owns a task or more, got tasks_per_client={self.tasks_per_client}; use 1."
            )

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        dealt = self.partition.deal(examples, clients, seed)
        tasks, each, count = sorted(examples.tasks), self.tasks_per_client, len(dealt.rows)
        if each > len(tasks):
            raise ValueError(
                f"TaskAssignment gives each client {each} of {len(tasks)} task(s); lower tasks_per_client."
            )
        if each * count < len(tasks):
            raise ValueError(
                f"TaskAssignment: {count} clients of {each} task(s) each leave one of {len(tasks)} tasks without an "
                "owner; raise tasks_per_client or the number of clients."
            )
        draw = rng(seed, 0, SERVER, "tasks")
        owners = dict.fromkeys(tasks, 0)
        owned = []
        for _ in range(count):
            rarest = sorted(draw.permutation(tasks).tolist(), key=owners.__getitem__)[:each]
            for name in rarest:
                owners[name] += 1
            owned.append(tuple(sorted(rarest)))
        return dealt._replace(owned=owned)
