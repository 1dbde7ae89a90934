"""Clients of a node that do the same work on arrays of the same shapes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.data_shard import ShardRows, ShardTable
from fedmtl.core.context import ContextRows
from fedmtl.core.trees import tree_map
from fedmtl.core.types import Payload
from fedmtl.engines.base import ClientFn, Cohort, OutputBuffers


class ClientGroup(NamedTuple):
    """Clients of an exchange with the same tasks and the same structure of state."""

    table: ShardTable
    kind: str
    """Names the structure."""
    positions: NDArray[np.int64]
    """Rows among the requests, [K]."""
    rows: NDArray[np.int64]
    """Rows of the table, [K]."""
    clients: NDArray[np.int64]
    downs: Sequence[Payload]
    broadcast_index: NDArray[np.int64]
    """[K] index into ``downs`` of each client's broadcast."""
    states: Any
    """{"private", "codec"}, arrays [K, …]."""

    def cohort(
        self,
        function: ClientFn,
        rows: ShardRows,
        members: NDArray[np.int64],
        order: NDArray[np.int64] | None,
        batch_size: int | None,
        context: ContextRows | None = None,
        output_buffers: OutputBuffers | None = None,
    ) -> Cohort:
        """Make the cohort of some of the clients; without an order, as for measuring, batches are as small as possible.

        ``context`` is theirs, where the function reads it.
        """
        chosen = self.rows[members]
        sizes = rows.size[chosen]
        least = sizes if batch_size is None else np.minimum(sizes, batch_size)

        def cut(make: Callable[..., Any], some: NDArray[np.int64]) -> Any:
            if order is None:
                return make(chosen[some], None, int(least[some].max()))
            return make(chosen[some], order[some], batch_size)

        private = self.states["private"]
        if len(members) < len(self.clients):
            private = tree_map(lambda leaf: leaf[members], private)
        return Cohort(
            clients=self.clients[members].tolist(),
            function=function,
            downs=self.downs,
            broadcast_index=self.broadcast_index[members],
            private=private,
            steps=-(-sizes // least),
            batches=partial(cut, rows.batches),
            owned=self.table.owned,
            lazy_batches=partial(cut, rows.lazy_batches),
            output_buffers=output_buffers,
            context=context,
        )
