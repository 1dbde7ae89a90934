"""The stores of several nodes, read as one."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateStore
from fedmtl.protocol.best_round import NO_ROUND


class StoresOfNodes:
    """Private states of nodes that have ended.

    Args:
        parts: for each node its clients and their store.
    """

    def __init__(self, parts: Sequence[tuple[NDArray[np.int64], StateStore]]) -> None:
        self._parts = parts

    def load_rows(
        self,
        kind: str,
        clients: NDArray[np.int64],
        version: int,
        first: Callable[[NDArray[np.int64]], Any],
        since: NDArray[np.int64] | None = None,
    ) -> Any:
        """As in ``StateStore``, for clients of one node.

        Raises:
            KeyError: clients that no node has, or several.
        """
        for own, store in self._parts:
            if np.isin(clients, own).all():
                return store.load_rows(kind, clients, version, first, since)
        raise KeyError(f"No node has all of the clients {clients.tolist()[:10]}.")

    def save_rows(
        self, kind: str, clients: NDArray[np.int64], version: int, states: Any, keep: int = NO_ROUND
    ) -> NoReturn:
        raise RuntimeError("No client trains after a run; this is a mistake of the program.")
