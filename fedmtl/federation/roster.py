"""Who takes part in a federation, as arrays."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedmtl.types import ClientId, TaskSet


class Roster:
    """All clients, and the tasks that each owns."""

    def __init__(self, owners: Mapping[ClientId, TaskSet]) -> None:
        self.owners = dict(sorted(owners.items()))
        self.clients: NDArray[np.int64] = np.array(list(self.owners), np.int64)
        """Ascending."""
        self.task_sets = sorted(set(self.owners.values()))
        """Each set of tasks that somebody owns."""
        number = {owned: index for index, owned in enumerate(self.task_sets)}
        self._owns = np.array([number[owned] for owned in self.owners.values()], np.int64)

    def rows(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of each client among ``clients``."""
        return np.searchsorted(self.clients, clients)

    def task_set(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of each client's set among ``task_sets``."""
        return self._owns[np.searchsorted(self.clients, clients)]
