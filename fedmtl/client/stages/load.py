"""First stage: all packets are opened and all states are loaded before any client is trained."""

import time
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.batching import ClientGroup
from fedmtl.client.data_shard import Shard, ShardTable
from fedmtl.client.stages.exchange import LoadedExchange
from fedmtl.core.trees import tree_map, tree_stack, tree_structure
from fedmtl.core.types import Payload, TaskSet
from fedmtl.protocol.packets import DOWN
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.unpack import unpack_payload


class GroupLoader:
    """Groups the requested clients of a node by tasks and structure of state.

    Args:
        plan: of the experiment.
        clients: of the node.
    """

    def __init__(self, plan: Plan, clients: Shard) -> None:
        self._plan = plan
        self._clients = clients
        self._kinds: dict[tuple[TaskSet, int], str] = {}

    def load(self, exchange: LoadedExchange) -> list[ClientGroup]:
        """Load the groups of an exchange.

        Raises:
            KeyError: a client that does not live here.
            PacketError: a packet that is damaged or of another experiment.
            LostState: a private state that must be there is not, or is damaged.
        """
        requests, store = exchange.requests, exchange.store
        tables, places = self._clients.locate(requests.clients)
        busy = requests.evaluate | requests.train
        opened: dict[Any, Payload] = {}
        groups = []
        for index, table in enumerate(self._clients.tables):
            members = np.flatnonzero(busy & (tables == index))
            if not len(members):
                continue
            downs, broadcast_index = self._open(exchange, table, members, opened)
            kinds = self._kinds_of(table, places[members])
            for kind in sorted(set(kinds.tolist())):
                some = np.flatnonzero(kinds == kind)
                chosen = members[some]
                clients, rows = requests.clients[chosen], places[chosen]
                start = time.perf_counter()
                since = requests.since[chosen]
                states = store.load_rows(
                    kind, clients, requests.exchange.version, lambda k, t=table, r=rows: self._first(t, r[k]), since
                )
                exchange.spend("state", start)
                groups.append(ClientGroup(table, kind, chosen, rows, clients, downs, broadcast_index[some], states))
        return groups

    def _open(
        self, exchange: LoadedExchange, table: ShardTable, members: NDArray[np.int64], opened: dict[Any, Payload]
    ) -> tuple[list[Payload], NDArray[np.int64]]:
        """Decode the broadcasts that differ, each once; return them and each client's index into them."""
        packets = exchange.requests.packets.select(members)
        link = self._plan.downlink(int(exchange.requests.clients[members[0]]), table.owned)
        _, first, same = np.unique(packets.starts, return_index=True, return_inverse=True)
        downs: list[Payload] = []
        place: dict[bytes, int] = {}
        broadcast_index = np.zeros(len(first), np.int64)
        for k, start in enumerate(first.tolist()):
            packet = packets[start]
            if packet not in place:
                if (link.spec, packet) not in opened:
                    opened[link.spec, packet] = unpack_payload(packet, link, kind=DOWN, round=exchange.round)[0]
                place[packet] = len(downs)
                downs.append(opened[link.spec, packet])
            broadcast_index[k] = place[packet]
        return downs, broadcast_index[same]

    def _kinds_of(self, table: ShardTable, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Name the structure of each client's state, which may depend on its number of examples; [K]."""
        sizes, inverse = np.unique(table.train.size[rows], return_inverse=True)
        for size in sizes.tolist():
            if (table.owned, size) not in self._kinds:
                picture = repr((table.owned, tree_structure(self._first_of(table, size))))
                self._kinds[table.owned, size] = blake2b(picture.encode(), digest_size=8).hexdigest()
        return np.array([self._kinds[table.owned, size] for size in sizes.tolist()])[inverse]

    def _first_of(self, table: ShardTable, num_examples: int) -> dict[str, Any]:
        return {
            "private": self._plan.init_client(table.owned, num_examples),
            "codec": self._plan.uplink(int(table.clients[0]), table.owned).init(),
        }

    def _first(self, table: ShardTable, rows: NDArray[np.int64]) -> Any:
        """Stack the first states of some of a table's clients."""
        if not len(rows):
            return tree_map(lambda leaf: leaf[:0], tree_stack([self._first_of(table, 1)]))
        sizes, inverse = np.unique(table.train.size[rows], return_inverse=True)
        states = tree_stack([self._first_of(table, size) for size in sizes.tolist()])
        return tree_map(lambda leaf: leaf[inverse], states)
