"""All clients of a federation and the tasks of each, as arrays: a million take 16 MB and no time to look up."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId, TaskSet


class Roster(Mapping[ClientId, TaskSet]):
    """Client -> its tasks, by client. Of many clients, look at the arrays."""

    def __init__(self, owners: Mapping[ClientId, TaskSet]) -> None:
        if isinstance(owners, Roster):
            self.clients, self.task_sets, self._owns = owners.clients, owners.task_sets, owners._owns
            return
        self.clients: NDArray[np.int64] = np.array(sorted(owners), np.int64)
        """Ascending."""
        self.task_sets: list[TaskSet] = sorted(set(owners.values()))
        """Each set of tasks that some client owns."""
        number = {owned: index for index, owned in enumerate(self.task_sets)}
        self._owns = np.array([number[owners[client]] for client in self.clients.tolist()], np.int64)

    def rows(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of each client among ``clients``."""
        return np.searchsorted(self.clients, clients)

    def task_set(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of each client's set among ``task_sets``."""
        return self._owns[np.searchsorted(self.clients, clients)]

    @property
    def owns(self) -> NDArray[np.int64]:
        """The index of every client's set among ``task_sets``, [K]."""
        return self._owns

    def first(self) -> list[ClientId]:
        """First client of each set of tasks."""
        place = np.unique(self._owns, return_index=True)[1]
        return self.clients[place].tolist()

    def __getitem__(self, client: ClientId) -> TaskSet:
        place = int(np.searchsorted(self.clients, client))
        if place == len(self.clients) or self.clients[place] != client:
            raise KeyError(client)
        return self.task_sets[self._owns[place]]

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self.clients.tolist())

    def __len__(self) -> int:
        return len(self.clients)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Roster):
            return (
                np.array_equal(self.clients, other.clients)
                and self.task_sets == other.task_sets
                and np.array_equal(self._owns, other._owns)
            )
        return super().__eq__(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


def roster_of(clients: NDArray[np.int64], task_sets: list[TaskSet], owns: NDArray[np.int64]) -> Roster:
    """The roster of K clients in any order.

    Args:
        clients: their ids, [K], each once.
        task_sets: sets of tasks, ascending.
        owns: which of them each client owns, [K].
    """
    roster = Roster({})
    order = np.argsort(clients, kind="stable")
    used, number = np.unique(owns, return_inverse=True)
    roster.clients, roster._owns = clients[order].astype(np.int64, copy=False), number[order].astype(np.int64)
    roster.task_sets = [task_sets[index] for index in used.tolist()]
    return roster
