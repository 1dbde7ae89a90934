"""Placement of nearly all algorithms: clients train, and their uploads, bounded and stacked, make the next model."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.core.types import ClientId, Payload, TaskSet
from fedmtl.core.uploads import Stack, Summed, Uploads
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.packets import DOWN, UP, PacketError, Packets
from fedmtl.protocol.packing import Unpacked, raise_error, unpack_payloads
from fedmtl.protocol.returned import as_server_state
from fedmtl.server.influence import Bounds, norm_limits, size_limits, update_norms
from fedmtl.server.placement import Asked, Update
from fedmtl.server.policy import RoundPolicy
from fedmtl.server.replies import RoundReplies
from fedmtl.server.round_result import TrainingMetric
from fedmtl.server.safe_aggregation import aggregate
from fedmtl.server.server_part import with_server_part
from fedmtl.tables.schemas import TRAIN_LOSS


class OnClients:
    """Examples stay where they are: the clients that the policy draws train, and send what the algorithm uploads."""

    def __init__(self) -> None:
        self.raw_data: dict[ClientId, bytes] = {}

    def ask(self, exchange: Exchange, present: NDArray[np.int64], policy: RoundPolicy) -> Asked:
        return Asked(policy.ask(exchange, present) if exchange.train else present[:0], present[:0])

    def update(self, state: Any, received: RoundReplies, trusted: bool, needs_all: bool, altered: bool) -> Update:
        if not received.requests.train.any() and not (received.flight is not None and received.requests.exchange.train):
            return Update(state, received.roster.clients[:0])
        plan, makes = received.plan, received.requests.exchange.makes
        ctx = plan.server_context(makes, "aggregate")
        reader = UploadReader(received)
        uploads = reader.uploads()

        def step(uploads: Uploads) -> Any:
            sums = with_server_part(plan, makes, uploads) if plan.up_codec.traits.server_part else uploads
            return as_server_state(plan.algorithm, state, plan.algorithm.aggregate(state, sums, ctx))

        after, trained = state, uploads.clients
        if received.flight is not None:
            arrived = received.flight.exchange(uploads, received, state)
            after = step(arrived) if len(arrived.clients) else state
        elif len(uploads.clients) and (trusted or uploads.summed):  # an error of the algorithm is one of the run
            after = step(uploads)
        elif len(uploads.clients):
            after, uploads, unusable = aggregate(step, state, uploads, received.node_of)
            received.leave_out(unusable)
            trained = uploads.clients
        reader.remember(trained)
        return Update(after, trained, reader.training(trained))


class ReceivedUploads(NamedTuple):
    """Uploads of the clients of one node and one set of tasks."""

    node: int | None
    clients: NDArray[np.int64]
    unpacked: Unpacked
    update_norms: NDArray[np.float64]
    """|w_k − w|, [P]; empty where norms are not bounded."""
    model_norms: NDArray[np.float64]
    """|w|, [P]."""


class UploadReader:
    """Reads the uploads of a round, and the metrics of clients' training with them."""

    def __init__(self, replies: RoundReplies) -> None:
        self._replies = replies
        self._metrics: dict[str, list[TrainingMetric]] = {}
        self._parts: list[ReceivedUploads] = []

    def uploads(self) -> Uploads:
        """Stack the good uploads by set of tasks, in client order; differences are undone.

        Clients whose upload is damaged become ``problems``.
        """
        if any(reply.replies.totals for reply in self._replies.matched):
            return Uploads([], self._summed())
        requests, received = self._replies.requests, {}
        bad = (
            np.isin(requests.clients, list(self._replies.problems))
            if self._replies.problems
            else np.zeros(len(requests), bool)
        )
        found: dict[int, list[ReceivedUploads]] = {}
        for index in np.unique(self._replies.task_set[requests.train]).tolist():
            wanted = requests.train & ~bad & ~self._replies.late & (self._replies.task_set == index)
            for sent, rows, places in self._replies.matched:
                some = np.flatnonzero(wanted[places])
                if len(some):
                    packets = sent.updates.select(rows[some])
                    part = self._unpack(index, sent.node, places[some], packets, received)
                    found.setdefault(index, []).append(part)
        if self._replies.bounds is not None:
            found = self._within(found, self._replies.bounds)
        stacks = []
        for index, parts in found.items():
            parts = [part for part in parts if len(part.clients)]
            if parts:
                owned = self._replies.roster.task_sets[index]
                self._parts += parts
                for part in parts:
                    sent = part.unpacked
                    self._note(owned, part.clients, sent.num_examples, sent.train_loss, sent.metrics)
                link = self._replies.plan.uplink(int(parts[0].clients[0]), owned)
                clients = np.concatenate([part.clients for part in parts])
                order = np.argsort(clients)
                num_examples, vectors = np.empty(len(clients)), np.empty((len(clients), link.spec.size), np.float32)
                places = np.split(order.argsort(), np.cumsum([len(part.clients) for part in parts])[:-1])
                for part, rows in zip(parts, places, strict=True):
                    vectors[rows], num_examples[rows] = part.unpacked.vectors, part.unpacked.num_examples
                stacks.append(Stack(clients[order], link.arrays(torch.from_numpy(vectors)), num_examples))
        return Uploads(stacks)

    def _within(self, found: dict[int, list[ReceivedUploads]], bounds: Bounds) -> dict[int, list[ReceivedUploads]]:
        """Leave out the uploads that weigh too much, or are too far from the model that was sent."""
        parts = [part for some in found.values() for part in some]
        nodes = [part.node for part in parts]
        first = float(np.sqrt(sum(float((w.double() ** 2).sum()) for w in self._replies.plan.initial.values())))
        norms = norm_limits(
            bounds, [part.update_norms for part in parts], [part.model_norms for part in parts], nodes, first
        )
        weights = [part.unpacked.num_examples for part in parts]
        heaviest = size_limits(
            bounds.weight, weights, [self._replies.examples_of(part.clients, 0) for part in parts], nodes
        )
        kept = []
        for part, norm, weight in zip(parts, norms, heaviest, strict=True):
            heavy = ~(part.unpacked.num_examples <= weight * (1 + 1e-6))
            far = ~heavy & ~(part.update_norms <= norm)
            for k in np.flatnonzero(heavy).tolist():
                weighs = part.unpacked.num_examples[k]
                reason = f"it weighs {weighs:g} examples, and can have {weight[k]:g} (max_weight)"
                self._replies.leave_out_part("weight", part.node, int(part.clients[k]), reason)
            for k in np.flatnonzero(far).tolist():
                reason = f"its update is {part.update_norms[k]:.3g} long, and can be {norm[k]:.3g} (max_norm)"
                self._replies.leave_out_part("norm", part.node, int(part.clients[k]), reason)
            good = np.flatnonzero(~heavy & ~far)
            kept.append(part if len(good) == len(heavy) else _rows_of(part, good))
        each = iter(kept)
        return {index: [next(each) for _ in some] for index, some in found.items()}

    def _summed(self) -> list[Summed]:
        """Return the sums of nodes of this machine."""
        found = []
        for reply in self._replies.matched:
            for owned, clients, vector, num_examples, losses, metrics, _ in reply.replies.totals:
                if len(clients):
                    self._note(owned, clients, num_examples, losses, metrics)
                    link, total = self._replies.plan.uplink(int(clients[0]), owned), float(num_examples.sum())
                    if self._replies.references is not None:
                        vector = vector + total * self._residual(int(clients[0]), owned)
                    found.append(Summed(clients, link.arrays(vector), total))
        return found

    def _note(self, owned: TaskSet, clients: Any, num_examples: Any, losses: Any, metrics: Any) -> None:
        """Keep the metrics of good uploads of clients with one set of tasks."""
        columns = iter(metrics.T)
        for name in self._replies.plan.training_metrics(int(clients[0]), owned):
            values = losses if name == TRAIN_LOSS else next(columns)
            self._metrics.setdefault(name, []).append(TrainingMetric(clients, num_examples, values))

    def remember(self, used: NDArray[np.int64]) -> None:
        """Keep the memories of the clients whose uploads were used, where there are some; after ``uploads``."""
        for part in self._parts:
            if part.unpacked.memories is not None:
                some, makes = np.isin(part.clients, used), self._replies.requests.exchange.makes
                self._replies.memories.keep(makes, part.clients[some], part.unpacked.memories[some])

    def training(self, used: NDArray[np.int64]) -> dict[str, TrainingMetric]:
        """Return the metrics of the clients whose uploads were used, ascending; after ``uploads``."""
        found = {}
        for name, parts in sorted(self._metrics.items()):
            whole = TrainingMetric(*(np.concatenate(column) for column in zip(*parts, strict=True)))
            order = np.argsort(whole.clients)
            found[name] = whole.select(order[np.isin(whole.clients[order], used)])
        return found

    def _unpack(
        self,
        index: int,
        node: int | None,
        places: NDArray[np.int64],
        packets: Packets,
        received: dict[Any, Payload],
    ) -> ReceivedUploads:
        """Unpack the uploads of the clients of one node and one set of tasks."""
        clients = self._replies.requests.clients[places]
        first, owned = int(clients[0]), self._replies.roster.task_sets[index]
        references, which = None, None
        link = self._replies.plan.uplink(first, owned)
        if not link.sends_values or self._replies.bounds is not None:
            references, which = self._received(first, owned, self._replies.requests.packets.select(places), received)

        def damaged(k: int, error: PacketError) -> None:
            self._replies.leave_out_part(error.kind, node, int(clients[k]), str(error))

        unpacked = unpack_payloads(
            packets,
            link,
            kind=UP,
            round=self._replies.round,
            references=references or (),
            broadcast_index=which,
            memories=self._replies.memories.of(clients, link.spec.size) if link.remembers else None,
            on_error=damaged,
        )
        apart = lengths = np.zeros(len(unpacked.rows))
        if self._replies.bounds is not None and references is not None and which is not None and link.spec:
            apart, lengths = update_norms(unpacked.vectors, link.vectors(references), which[unpacked.rows])
        if self._replies.references is not None:
            unpacked = unpacked._replace(vectors=unpacked.vectors + self._residual(first, owned))
        return ReceivedUploads(node, clients[unpacked.rows], unpacked, apart, lengths)

    def _residual(self, client: ClientId, owned: TaskSet) -> NDArray[np.float32]:
        """Return what the server's model is beyond the one that clients hold, in the order of an upload."""
        plan = self._replies.plan
        return self._replies.references.residual(plan.downlink(client, owned), plan.uplink(client, owned))

    def _received(
        self, client: ClientId, owned: Any, sent: Packets, received: dict[Any, Payload]
    ) -> tuple[list[Payload], NDArray[np.int64]]:
        """Return the broadcasts as clients have unpacked them: those that differ, and each client's index."""
        link = self._replies.plan.downlink(client, owned)
        if self._replies.references is not None and link.spec:  # all hold the same, whatever they were sent
            return [self._replies.references.received(link)], np.zeros(len(sent), np.int64)
        starts, first, which = np.unique(sent.starts, return_index=True, return_inverse=True)
        fresh = [k for k in first.tolist() if (link.spec, int(sent.starts[k])) not in received]
        some, number = sent.select(np.array(fresh, np.int64)), self._replies.round
        unpacked = unpack_payloads(some, link, kind=DOWN, round=number, on_error=raise_error)
        for k, vector in zip(fresh, unpacked.vectors, strict=True):
            received[link.spec, int(sent.starts[k])] = link.arrays(torch.from_numpy(vector.copy()))
        return [received[link.spec, start] for start in starts.tolist()], which


def _rows_of(part: ReceivedUploads, rows: NDArray[np.int64]) -> ReceivedUploads:
    return ReceivedUploads(
        part.node, part.clients[rows], part.unpacked.select(rows), part.update_norms[rows], part.model_norms[rows]
    )
