"""The Grid with nodes in this process."""

from collections.abc import Iterable

import numpy as np
from flwr.app import Context, Message, RecordDict
from numpy.typing import NDArray

from fedmtl.client.data_shard import shard_of
from fedmtl.client.state.base import StateStore
from fedmtl.client.state.of_nodes import StoresOfNodes
from fedmtl.data.base import Federation
from fedmtl.data.joined import some_of
from fedmtl.data.prepared import on_node
from fedmtl.runs.experiment import Experiment
from fedmtl.runtime.direct_grid import DirectGrid, new_run_id
from fedmtl.runtime.flower.client_app import reply as client_reply
from fedmtl.runtime.node import HostedNode, host, make_client_pool, make_store
from fedmtl.runtime.placement import place_clients


def node_context(run_id: int, node_id: int) -> Context:
    return Context(run_id, node_id, {}, RecordDict(), {})


class LocalGrid(DirectGrid):
    """Nodes in this process: for tests, debugging, notebooks, and runs beside others. Errors reach the caller.

    Args:
        experiment: of the run.
        federation: its data.
        state_folder: folder of private state; None keeps it in memory.
        parts: number of nodes, which have the clients of as many Ray workers: sums over a node's clients, and so
            results, are bit-identical to those of a run over Ray.
    """

    def __init__(
        self, experiment: Experiment, federation: Federation, state_folder: str | None = None, parts: int = 1
    ) -> None:
        super().__init__(new_run_id())
        schema = federation.schema
        hosted = place_clients(experiment, federation, parts) if parts > 1 else [None]
        self._contexts: dict[int, Context] = {}
        self._stores: list[tuple[NDArray[np.int64], StateStore]] = []
        for node_id, some in enumerate(hosted, 1):
            clients = federation.clients if some is None else some_of(federation.clients, some)
            client_pool = make_client_pool(experiment, schema, shard_of(clients))
            store = make_store(experiment, schema, state_folder)
            self._stores.append((client_pool.roster.clients, store))
            prepared = on_node(federation.prepared, client_pool.roster.clients)
            host(self.run_id, node_id, HostedNode(client_pool, store, prepared))
            self._contexts[node_id] = node_context(self.run_id, node_id)

    def get_node_ids(self) -> list[int]:
        return list(self._contexts)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [client_reply(message, self._contexts[message.metadata.dst_node_id]) for message in messages]

    def private_states(self) -> StateStore | None:
        return self._stores[0][1] if len(self._stores) == 1 else StoresOfNodes(self._stores)

    def close(self) -> None:
        for node_id in self._contexts:
            host(self.run_id, node_id, None)
