"""A node's clients: packets in, packets out. The same on a laptop, in a worker and on a device."""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.client.batching import ClientGroup
from fedmtl.client.data_shard import Rows, Shard, ShardTable, shard_of, with_floats
from fedmtl.client.predictions import tallies
from fedmtl.client.state.base import StateStore
from fedmtl.client.validation import with_validation
from fedmtl.core.random import float32_default, permutations, rng
from fedmtl.core.trees import finite_rows, tree_index, tree_leaves, tree_map, tree_stack, tree_structure
from fedmtl.core.types import ClientId, Payload, TaskSet, Trained
from fedmtl.core.uploads import weighted_sum
from fedmtl.data.base import ClientData
from fedmtl.data.roster import Roster
from fedmtl.engines.base import Engine
from fedmtl.protocol.metrics_report import raw_data_packet, report_packets
from fedmtl.protocol.packets import DOWN, UP, PacketError, Packets, concat
from fedmtl.protocol.permissions import NOT_CODED, NOT_FINITE, NOT_READ
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import PHASES, Replies, Request, Requests, Total, requests_of
from fedmtl.protocol.spec import check_payload
from fedmtl.protocol.wire import Packed, PacketBuffer, pack_payloads, unpack_payload, unpack_payloads
from fedmtl.tables.schemas import TRAIN_LOSS, VALID

log = logging.getLogger("fedmtl")

EVALUATION_BATCH = 256
"""Examples that are measured at once; results do not depend on it beyond rounding."""


class ClientPool:
    """The clients that one node hosts.

    Args:
        plan: what both sides derive from the experiment.
        clients: their data; it never leaves, save for central algorithms.
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
        plan.check_inputs(rows.x.numpy() for table in shard.tables for rows in (table.train, table.test))
        longest = plan.longest or max((int(table.train.size.max()) for table in shard.tables), default=1)
        # What no client fills is one batch of all that a client has, without a memory of its own.
        self._batch_size = None if plan.batch_size is None or plan.batch_size >= longest else plan.batch_size
        self.seconds: dict[str, float] = {}
        """Where the time of the last ``handle`` went: state, evaluate, train, encode, add."""
        self.rounds = rounds
        self._engine = engine
        self._kinds: dict[tuple[TaskSet, int], str] = {}

    @property
    def roster(self) -> Roster:
        """Who lives here, and which tasks they own: all that the server learns before the first round."""
        return self.clients.roster

    @float32_default()
    def handle(self, round: int, requests: Sequence[Request], store: StateStore, add: bool = False) -> Replies:
        """Answer the requests of a round, in their order.

        Args:
            round: which.
            requests: what is asked of whom.
            store: where private state is.
            add: unpack the uploads that were packed, and reply with their sum instead of each of them.

        A client whose update is not finite, or is refused by the codec, sends none and keeps its last good state.

        Raises:
            KeyError: a client that does not live here.
            PacketError: a packet that is damaged or of another experiment.
        """
        self.seconds = dict.fromkeys(PHASES, 0.0)
        requests = requests if isinstance(requests, Requests) else requests_of(requests)
        groups = self._groups(round, requests, store)
        reports = self._evaluate(round, requests, groups)
        problems: dict[ClientId, str] = {}
        seconds = np.zeros(len(requests))
        totals: list[Total] | None = [] if add else None
        updates = self._train(round, requests, groups, store, seconds, problems, totals)
        senders = np.flatnonzero(requests.raw_data)
        if len(senders):
            data = (self.clients[client].train for client in requests.clients[senders].tolist())
            updates.append((senders, concat([raw_data_packet(self.plan, round, split) for split in data])))
        count = len(requests)
        return Replies(
            requests.clients, _in_order(count, reports), _in_order(count, updates), seconds, problems, totals or ()
        )

    def _groups(self, round: int, requests: Requests, store: StateStore) -> list[ClientGroup]:
        """Every packet opened and every state loaded, before anybody is trained."""
        tables, places = self.clients.locate(requests.clients)
        asked = requests.evaluate | requests.train
        opened: dict[Any, Payload] = {}
        groups = []
        for index, table in enumerate(self.clients.tables):
            members = np.flatnonzero(asked & (tables == index))
            if not len(members):
                continue
            downs, broadcast_index = self._open(round, table, requests, members, opened)
            kinds = self._kinds_of(table, places[members])
            for kind in sorted(set(kinds.tolist())):
                some = np.flatnonzero(kinds == kind)
                chosen = members[some]
                clients, rows = requests.clients[chosen], places[chosen]
                start = time.perf_counter()
                since = requests.since[chosen]
                states = store.load_rows(kind, clients, round, lambda k, t=table, r=rows: self._first(t, r[k]), since)
                self._spent("state", start)
                groups.append(ClientGroup(table, kind, chosen, rows, clients, downs, broadcast_index[some], states))
        return groups

    def _open(
        self, round: int, table: ShardTable, requests: Requests, members: NDArray[np.int64], opened: dict[Any, Payload]
    ) -> tuple[list[Payload], NDArray[np.int64]]:
        """The broadcasts that differ, and which of them each client got. Equal packets are decoded once."""
        packets = requests.packets.select(members)
        spec = self.plan.down_spec(int(requests.clients[members[0]]), table.owned)
        _, first, same = np.unique(packets.starts, return_index=True, return_inverse=True)
        downs: list[Payload] = []
        place: dict[bytes, int] = {}
        broadcast_index = np.zeros(len(first), np.int64)
        for k, start in enumerate(first.tolist()):
            packet = packets[start]
            if packet not in place:
                if (spec, packet) not in opened:
                    opened[spec, packet] = unpack_payload(packet, spec, self.plan.down_codec, kind=DOWN, round=round)[0]
                place[packet] = len(downs)
                downs.append(opened[spec, packet])
            broadcast_index[k] = place[packet]
        return downs, broadcast_index[same]

    def _kinds_of(self, table: ShardTable, rows: NDArray[np.int64]) -> NDArray[Any]:
        """[K] a name for the structure of each client's state, which may depend on how many examples it has."""
        sizes, inverse = np.unique(table.train.size[rows], return_inverse=True)
        for size in sizes.tolist():
            if (table.owned, size) not in self._kinds:
                picture = repr((table.owned, tree_structure(self._first_of(table, size))))
                self._kinds[table.owned, size] = blake2b(picture.encode(), digest_size=8).hexdigest()
        return np.array([self._kinds[table.owned, size] for size in sizes.tolist()])[inverse]

    def _first_of(self, table: ShardTable, num_examples: int) -> dict[str, Any]:
        size = self.plan.up_spec(int(table.clients[0]), table.owned).size
        return {
            "private": self.plan.init_client(table.owned, num_examples),
            "codec": self.plan.up_codec.init(size) if size else None,
        }

    def _first(self, table: ShardTable, rows: NDArray[np.int64]) -> Any:
        """First states of some of a table's clients, stacked."""
        if not len(rows):
            return tree_map(lambda leaf: leaf[:0], tree_stack([self._first_of(table, 1)]))
        sizes, inverse = np.unique(table.train.size[rows], return_inverse=True)
        states = tree_stack([self._first_of(table, size) for size in sizes.tolist()])
        return tree_map(lambda leaf: leaf[inverse], states)

    def _evaluate(
        self, round: int, requests: Requests, groups: list[ClientGroup]
    ) -> list[tuple[NDArray[np.int64], Packets]]:
        start = time.perf_counter()
        parts = [(group, _measured_part(requests, group)) for group in groups]
        measured = [(group, rows, some) for group, rows in parts if len(some := _measured(requests, group, rows))]
        cohorts = [
            group.cohort(self.plan.measure(group.table.owned), rows, some, None, EVALUATION_BATCH)
            for group, rows, some in measured
        ]
        padding = self.plan.task_padding(self.plan.measure(self.plan.all_tasks))
        results = self._engine.map(cohorts, padding) if cohorts else []
        # Statistics beside the primary metric's run apart, so that it has the same bits whether they do or not.
        full = requests.full and self.plan.metrics != "primary"
        tallied = [tallies(self._engine, self.plan, *each) if full else None for each in measured]
        reports = [
            (group.positions[some], report_packets(self.plan, round, group.table.owned, sums, more))
            for (group, _, some), sums, more in zip(measured, results, tallied, strict=True)
        ]
        self._spent("evaluate", start)
        return reports

    def _train(
        self,
        round: int,
        requests: Requests,
        groups: list[ClientGroup],
        store: StateStore,
        seconds: NDArray[np.float64],
        problems: dict[ClientId, str],
        totals: list[Total] | None,
    ) -> list[tuple[NDArray[np.int64], Packets]]:
        start = time.perf_counter()
        cohorts, trained = [], []
        for group in groups:
            some = np.flatnonzero(requests.train[group.positions])
            if len(some):
                sizes = group.table.train.size[group.rows[some]]
                order = permutations(self.plan.seed, round, group.clients[some], "batches", sizes)
                function = self.plan.training(group.table.owned)
                told, size = self.plan.schedule_step(round), self._batch_size
                spec = self.plan.up_spec(int(group.clients[0]), group.table.owned)
                room = PacketBuffer(len(some), spec)
                places = partial(_places, room, len(spec))
                cohorts.append(group.cohort(function, group.table.train, some, order, size, told, places))
                trained.append((group, some, sizes, room))
        padding = self.plan.task_padding(self.plan.training(self.plan.all_tasks))
        results = self._engine.map(cohorts, padding) if cohorts else []
        elapsed = self._spent("train", start)
        examples = sum(int(sizes.sum()) for _, _, sizes, _ in trained)
        updates = []
        for (group, some, sizes, room), result in zip(trained, results, strict=True):
            # Clients that ran together have one time between them; it is shared out by examples.
            seconds[group.positions[some]] = elapsed * sizes / examples
            rows, packets = self._close(round, group, some, result, room, store, requests.best, problems, totals)
            updates.append((group.positions[some[rows]], packets))
        return updates

    def _close(
        self,
        round: int,
        group: ClientGroup,
        some: NDArray[np.int64],
        result: Trained[Any],
        room: PacketBuffer,
        store: StateStore,
        best: int,
        problems: dict[ClientId, str],
        totals: list[Total] | None,
    ) -> tuple[NDArray[np.int64], Packets]:
        """Which of the clients send, and their packets; their private parts are stored."""
        start = time.perf_counter()
        payload, num_examples = result.upload
        loss = result.metrics.get(TRAIN_LOSS)
        spec = self.plan.up_spec(int(group.clients[0]), group.table.owned)
        check_payload(tree_index(payload, 0), spec, UP)
        finite = finite_rows((result.private, payload), len(some))
        codec_states = group.states["codec"]
        rows = np.arange(len(some))
        if not finite.all():
            rows = np.flatnonzero(finite)
            for client in group.clients[some[~finite]].tolist():
                problems[client] = NOT_FINITE
            payload, num_examples, loss = tree_map(lambda leaf: leaf[rows], (payload, num_examples, loss))
        clients = group.clients[some[rows]]

        def refused(k: int, error: ValueError) -> None:
            log.warning("round %d: the update of client %d cannot be coded: %s", round, clients[k], error)
            problems[int(clients[k])] = NOT_CODED

        packed = pack_payloads(
            payload,
            spec,
            self.plan.up_codec,
            tree_map(lambda leaf: leaf[some[rows]], codec_states),
            lambda k: rng(self.plan.seed, round, int(clients[k]), "up"),
            kind=UP,
            round=round,
            num_examples=np.asarray(num_examples, np.float64),
            train_loss=None if loss is None else np.asarray(loss, np.float32),
            references=group.downs,
            broadcast_index=group.broadcast_index[some[rows]],
            buffer=room,
            finite=True,
            on_error=refused,
        )
        self._spent("encode", start)
        start = time.perf_counter()
        rows = rows[packed.rows]
        private = result.private
        if len(rows) < len(some):
            private = tree_map(lambda leaf: leaf[rows], private)
        states = {"private": private, "codec": packed.states}
        store.save_rows(group.kind, group.clients[some[rows]], round, states, best)
        self._spent("state", start)
        if totals is None:
            return rows, packed.packets
        start = time.perf_counter()
        totals.append(self._total(round, group, some[rows], packed, num_examples, loss, problems))
        self._spent("add", start)
        return rows, Packets(np.zeros(0, np.uint8), np.zeros(len(rows), np.int64), packed.packets.lengths)

    def _total(
        self,
        round: int,
        group: ClientGroup,
        some: NDArray[np.int64],
        packed: Packed,
        num_examples: Any,
        loss: Any,
        problems: dict[ClientId, str],
    ) -> Total:
        """What the server would make of the packets, added up."""
        clients = group.clients[some]
        if packed.vectors is not None:
            weights = np.asarray(num_examples, np.float64)
            vector = weighted_sum(packed.vectors, weights)
            losses = np.full(len(clients), np.nan, np.float32) if loss is None else np.asarray(loss, np.float32)
            return Total(group.table.owned, clients, vector, weights, losses)

        def refused(k: int, error: PacketError) -> None:
            log.warning("round %d: the upload of client %d cannot be read back: %s", round, clients[k], error)
            problems[int(clients[k])] = NOT_READ

        unpacked = unpack_payloads(
            packed.packets,
            self.plan.up_spec(int(group.clients[0]), group.table.owned),
            self.plan.up_codec,
            kind=UP,
            round=round,
            references=group.downs,
            broadcast_index=group.broadcast_index[some],
            on_error=refused,
        )
        vector = weighted_sum(unpacked.vectors, unpacked.num_examples)
        kept = clients[unpacked.rows]
        return Total(group.table.owned, kept, vector, unpacked.num_examples, unpacked.train_loss)

    def _spent(self, phase: str, start: float) -> float:
        elapsed = time.perf_counter() - start
        self.seconds[phase] += elapsed
        return elapsed


def _measured_part(requests: Requests, group: ClientGroup) -> Rows:
    """The examples that clients of a group are asked to measure on.

    Raises:
        ValueError: a part that this experiment does not have.
    """
    rows = group.table.valid if requests.part == VALID else group.table.test
    if rows is None:
        raise ValueError("A validation part is asked for, and this experiment has none (valid_fraction=0).")
    return rows


def _measured(requests: Requests, group: ClientGroup, rows: Rows) -> NDArray[np.int64]:
    """Which of a group's clients measure: those that are asked to and have an example among the rows."""
    return np.flatnonzero(requests.evaluate[group.positions] & (rows.size[group.rows] > 0))


def _places(room: PacketBuffer, arrays: int, result: Trained[Any]) -> list[Tensor | None]:
    """Payloads are made where they will be packed."""
    private, payload = (len(tree_leaves(part)) for part in (result.private, result.upload.payload))
    uploaded = room.payload_views() if payload == arrays else [None] * payload
    return [*[None] * private, *uploaded, None, *[None] * len(result.metrics)]


def _in_order(count: int, parts: list[tuple[NDArray[np.int64], Packets]]) -> Packets:
    """One packet for each of the requests: empty where no part has one."""
    if len(parts) == 1 and len(parts[0][0]) == count and (parts[0][0] == np.arange(count)).all():
        return parts[0][1]
    starts, lengths = np.zeros(count, np.int64), np.zeros(count, np.int64)
    offset = 0
    for rows, packets in parts:
        starts[rows], lengths[rows] = packets.starts + offset, packets.lengths
        offset += packets.data.size
    data = np.concatenate([packets.data for _, packets in parts]) if parts else np.zeros(0, np.uint8)
    return Packets(data, starts, lengths)
