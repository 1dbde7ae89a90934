"""First stage: all packets are opened and all states are loaded before any client is trained."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.client.data_shard import Shard, ShardRows, ShardTable
from fedmtl.client.stages.exchange import LoadedExchange
from fedmtl.client.stages.receive import receive
from fedmtl.client.stages.remember import no_memories
from fedmtl.core.context import ContextRows
from fedmtl.core.trees import tree_leaves, tree_map, tree_stack, tree_structure
from fedmtl.core.types import ClientId, Payload, TaskSet
from fedmtl.engines.base import ClientFn, Cohort, OutputBuffers
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import DOWN, Packets, concat
from fedmtl.protocol.packing import raise_error, unpack_payloads
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.plan_variants import by_plan
from fedmtl.protocol.reference import Reference, no_reference
from fedmtl.protocol.requests import START_ANEW


class ClientGroup(NamedTuple):
    """Clients of an exchange with the same plan, the same tasks and the same structure of state."""

    plan: Plan
    """Theirs."""
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
    """{"private", "codec"}, arrays [K, …]; "sent" where the server has memories of uploads, see ``remember``; and
    "reference" where broadcasts are changes of it."""
    references: Sequence[Reference] = ()
    """The reference of each of ``downs``, where broadcasts are changes."""

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
            lazy_batches=None if rows.bytes_of_one else partial(cut, rows.lazy_batches),
            bytes_read=-(-sizes // least) * least * rows.bytes_of_one if rows.bytes_of_one else None,
            output_buffers=output_buffers,
            context=context,
        )


def _open(
    exchange: LoadedExchange, link: Link, packets: Packets, opened: dict[Any, Payload]
) -> tuple[list[Payload], NDArray[np.int64]]:
    """Decode the broadcasts that differ, once in an exchange, and return them and each client's index."""
    _, first, same = np.unique(packets.starts, return_index=True, return_inverse=True)
    sent = [packets[k] for k in first.tolist()]  # equal ones lie apart where they came over a network
    place = {packet: index for index, packet in enumerate(dict.fromkeys(sent))}
    fresh = [packet for packet in place if (link.spec, packet) not in opened]
    unpacked = unpack_payloads(concat(fresh), link, kind=DOWN, round=exchange.round, on_error=raise_error)
    for packet, vector in zip(fresh, unpacked.vectors, strict=True):
        opened[link.spec, packet] = link.arrays(torch.from_numpy(vector.copy()))
    return [opened[link.spec, packet] for packet in place], np.array([place[packet] for packet in sent], np.int64)[same]


def _has_private(first: dict[str, Any]) -> bool:
    """Return True where a state has a number beside its reference."""
    return any(np.size(leaf) for leaf in tree_leaves((first["private"], first["codec"])))


def first_state(plan: Plan, client: ClientId, owned: TaskSet, num_examples: int) -> dict[str, Any]:
    """Return a client's state before its first training: its private state, the memory of its codec, and where
    the server has memories of uploads, or broadcasts are changes of a reference, that there are none."""
    link = plan.uplink(client, owned)
    state = {"private": plan.init_client(owned, num_examples), "codec": link.init()}
    if link.remembers:
        state["sent"] = no_memories(link.init())
    if plan.down_codec.traits.delta_only and (spec := plan.down_spec(client, owned)):
        state["reference"] = no_reference(spec.size)
    return state


def state_kind(owned: TaskSet, first: dict[str, Any]) -> str:
    """Return the name of the structure of a state, by which stores keep it."""
    return blake2b(repr((owned, tree_structure(first))).encode(), digest_size=8).hexdigest()


class GroupLoader:
    """Groups the requested clients of a node by tasks, plan and structure of state.

    Args:
        clients: of the node.
    """

    def __init__(self, clients: Shard) -> None:
        self._clients = clients
        self._kinds: dict[tuple[Plan, TaskSet, int], str] = {}

    def load(self, exchange: LoadedExchange) -> list[ClientGroup]:
        """Load the groups of an exchange; broadcasts that differ are decoded once each.

        Raises:
            KeyError: a client that does not live here.
            PacketError: a packet that is damaged or of another experiment.
            LostState: a private state that must be there is not, or is damaged.
        """
        requests = exchange.requests
        tables, places = self._clients.locate(requests.clients)
        busy = requests.evaluate | requests.train
        opened: dict[Any, Payload] = {}
        groups = []
        for index, table in enumerate(self._clients.tables):
            members = np.flatnonzero(busy & (tables == index))
            for plan, some in by_plan(exchange.plan, requests.clients[members]):
                groups += self._load(exchange, plan, table, members[some], places, opened)
        return groups

    def _load(
        self,
        exchange: LoadedExchange,
        plan: Plan,
        table: ShardTable,
        members: NDArray[np.int64],
        places: NDArray[np.int64],
        opened: dict[Any, Payload],
    ) -> list[ClientGroup]:
        """Load the groups of clients of one table with one plan."""
        requests, store, groups = exchange.requests, exchange.store, []
        link = plan.downlink(int(requests.clients[members[0]]), table.owned)
        packets, changes = requests.packets.select(members), plan.down_codec.traits.delta_only and bool(link.spec)
        downs, broadcast_index = ([], members[:0]) if changes else _open(exchange, link, packets, opened)
        kinds = self._kinds_of(plan, table, places[members])
        for kind in sorted(set(kinds.tolist())):
            some = np.flatnonzero(kinds == kind)
            chosen = members[some]
            clients, rows = requests.clients[chosen], places[chosen]
            start = time.perf_counter()
            since = requests.since[chosen]
            if changes and not _has_private(self._first(plan, table, rows[:1])):
                since = np.full(len(some), START_ANEW)  # a lost reference is sent anew
            states = store.load_rows(
                kind, clients, requests.exchange.version, lambda k, r=rows: self._first(plan, table, r[k]), since
            )
            exchange.spend("state", start)
            downs_of, place = downs, broadcast_index[some] if not changes else some
            held: Sequence[Reference] = ()
            if changes:
                got = receive(exchange, link, clients, packets.select(some), states["reference"])
                downs_of, place, held, kept = got.downs, got.broadcast_index, got.references, got.rows
                chosen, rows, clients = chosen[kept], rows[kept], clients[kept]
                states = tree_map(lambda leaf, kept=kept: leaf[kept], states)
            if len(clients):
                groups.append(ClientGroup(plan, table, kind, chosen, rows, clients, downs_of, place, states, held))
        return groups

    def _kinds_of(self, plan: Plan, table: ShardTable, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Name the structure of each client's state, which may depend on its number of examples; [K]."""
        sizes, inverse = np.unique(table.train.size[rows], return_inverse=True)
        for size in sizes.tolist():
            if (plan, table.owned, size) not in self._kinds:
                self._kinds[plan, table.owned, size] = state_kind(table.owned, self._first_of(plan, table, size))
        return np.array([self._kinds[plan, table.owned, size] for size in sizes.tolist()])[inverse]

    def _first_of(self, plan: Plan, table: ShardTable, num_examples: int) -> dict[str, Any]:
        return first_state(plan, int(table.clients[0]), table.owned, num_examples)

    def _first(self, plan: Plan, table: ShardTable, rows: NDArray[np.int64]) -> Any:
        """Stack the first states of some of a table's clients."""
        if not len(rows):
            return tree_map(lambda leaf: leaf[:0], tree_stack([self._first_of(plan, table, 1)]))
        sizes, inverse = np.unique(table.train.size[rows], return_inverse=True)
        states = tree_stack([self._first_of(plan, table, size) for size in sizes.tolist()])
        return tree_map(lambda leaf: leaf[inverse], states)
