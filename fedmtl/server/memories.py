"""The server's memories of uploads, where the codec's receiver has one of each client, see ``protocol/memories.py``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.roster import Roster
from fedmtl.protocol.memories import ANEW, Memories


class UploadMemories:
    """g_k of each client k that has trained: float32, 4 bytes for each number of its upload; none of the others.

    A memory changes only with the model, when the client's update is taken into it, or, of asynchronous rounds, among
    the updates under way.

    Args:
        roster: of the run.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._numbers: dict[int, NDArray[np.float32]] = {}
        self.versions: NDArray[np.int64] = np.zeros(len(roster), np.int64)
        """Version of the model that the memory of each client, ascending, was taken for; ANEW for none."""
        self.digests: dict[int, str] = {}
        """Version -> digest of the file that holds the memories which were taken for it, see ``runs``."""

    def versions_of(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the versions of K clients' memories."""
        return self.versions[self._roster.rows(clients)]

    def of(self, clients: NDArray[np.int64], size: int) -> Memories:
        """Return the memories of K clients whose uploads have ``size`` numbers, 0 where there is none."""
        numbers = np.zeros((len(clients), size), np.float32)
        for row, client in zip(numbers, clients.tolist(), strict=True):
            if client in self._numbers:
                row[:] = self._numbers[client]
        return Memories(self.versions_of(clients), numbers)

    def keep(self, version: int, clients: NDArray[np.int64], numbers: NDArray[np.float32]) -> None:
        """Keep the next memories of K clients, [K, size], whose updates make a version of the model."""
        self._numbers |= {client: row.copy() for client, row in zip(clients.tolist(), numbers, strict=True)}
        self.versions[self._roster.rows(clients)] = version

    def live(self) -> list[int]:
        """Return the versions of which some client has its memory, ascending."""
        return [version for version in np.unique(self.versions).tolist() if version != ANEW]

    def arrays(self, version: int) -> dict[str, NDArray[np.float32]]:
        """Return the memories of a version as named arrays, for ``load_arrays``."""
        clients = self._roster.clients[self.versions == version]
        return {str(client): self._numbers[client] for client in clients.tolist()}

    def load_arrays(self, version: int, found: Mapping[str, NDArray[Any]]) -> None:
        """Take the memories of a version, of the clients whose newest it is; ``versions`` are known already.

        Raises:
            KeyError: arrays that no run writes.
        """
        clients = self._roster.clients[self.versions == version]
        self._numbers |= {client: found[str(client)].copy() for client in clients.tolist()}
