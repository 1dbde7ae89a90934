"""Client pool of a node: packets in, packets out; the same on a laptop, in a worker and on a device."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.data_shard import Shard, shard_of, with_floats
from fedmtl.client.stages.exchange import LoadedExchange
from fedmtl.client.stages.load import GroupLoader
from fedmtl.client.stages.measure import measure
from fedmtl.client.stages.train import train
from fedmtl.client.state.base import StateStore
from fedmtl.client.validation import with_validation
from fedmtl.core.random import float32_default
from fedmtl.core.types import ClientId
from fedmtl.data.base import ClientData
from fedmtl.data.disk import DiskArray, blocks_of
from fedmtl.data.roster import Roster
from fedmtl.engines.base import Engine
from fedmtl.protocol.metrics_report import raw_data_packet
from fedmtl.protocol.packets import concat, in_order
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.plan_check import check_inputs
from fedmtl.protocol.requests import Replies, Requests


def _inputs(shard: Shard) -> Iterator[NDArray[Any]]:
    """Arrays that hold all inputs; of those on disk, blocks."""
    for table in shard.tables:
        for rows in (table.train, table.test):
            yield from blocks_of(rows.x if isinstance(rows.x, DiskArray) else rows.x.numpy())


class ClientPool:
    """The clients that one node hosts.

    Args:
        plan: what both sides derive from the experiment.
        clients: their data; it never leaves, save for centralized algorithms.
        engine: how they are run.
        rounds: of the experiment; requests beyond them are refused. None: not known.
    """

    def __init__(
        self, plan: Plan, clients: Shard | Mapping[ClientId, ClientData], engine: Engine, rounds: int | None = None
    ) -> None:
        self.plan = plan
        shard = clients if isinstance(clients, Shard) else shard_of(clients)
        shard = shard if plan.integer_inputs else with_floats(shard)
        self.clients = with_validation(shard, plan.valid_fraction, plan.seed)
        check_inputs(plan, _inputs(shard))
        longest = plan.longest or max((int(table.train.size.max()) for table in shard.tables), default=1)
        # A size that no client fills is one batch of all that a client has, without a memory of its own.
        self._batch_size = None if plan.batch_size is None or plan.batch_size >= longest else plan.batch_size
        self.seconds: dict[str, float] = {}
        """Phase (state, evaluate, train, encode, add) -> seconds of the last ``handle``."""
        self.rounds = rounds
        self._engine = engine
        self._loader = GroupLoader(self.clients)

    @property
    def roster(self) -> Roster:
        """The clients and the tasks that each owns: all that the server knows before the first round."""
        return self.clients.roster

    @float32_default()
    def handle(self, requests: Requests, store: StateStore, add: bool = False) -> Replies:
        """Reply to the requests of an exchange, in their order.

        Args:
            requests: a row a client.
            store: where private state is.
            add: unpack the uploads that were packed, and reply with their sum instead of each of them.

        Raises:
            KeyError: a client that does not live here.
            PacketError: a packet that is damaged or of another experiment.
            LostState: a private state that must be there is not, or is damaged.
        """
        exchange = LoadedExchange(self.plan.at(requests.exchange.version), self._engine, store, requests, add)
        self.seconds = exchange.seconds
        groups = self._loader.load(exchange)
        reports = measure(exchange, groups)
        updates = train(exchange, groups, self._batch_size)
        senders = np.flatnonzero(requests.raw_data)
        if len(senders):
            data = (self.clients[client].train for client in requests.clients[senders].tolist())
            updates.append((senders, concat([raw_data_packet(self.plan, exchange.round, split) for split in data])))
        count = len(requests)
        reports, updates = in_order(count, reports), in_order(count, updates)
        return Replies(
            requests.clients, reports, updates, exchange.training_seconds, exchange.problems, exchange.totals
        )
