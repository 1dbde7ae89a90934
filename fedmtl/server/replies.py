"""The replies of a round, matched with the requests that they belong to, checked and decoded."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId, Payload, TaskSet
from fedmtl.core.uploads import Stack, Summed, Uploads
from fedmtl.data.roster import Roster
from fedmtl.metrics import Tally
from fedmtl.metrics.tally import joined
from fedmtl.protocol.delta import reference_vectors
from fedmtl.protocol.ledger import Ledger
from fedmtl.protocol.metrics_report import raw_data_bytes, read_full_reports, read_reports
from fedmtl.protocol.packets import DOWN, UP, PacketError, Packets
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.rejections import Rejection
from fedmtl.protocol.requests import Replies, Requests
from fedmtl.protocol.spec import arrays_of, payload_of
from fedmtl.protocol.unpack import Unpacked, unpack_payload, unpack_payloads
from fedmtl.server.influence import Bounds, norm_limits, size_limits, update_norms
from fedmtl.server.round_result import NO_LOSSES, ClientMetrics, TrainingLosses
from fedmtl.tables.schemas import VALID
from fedmtl.tasks.checks import possible


class MetricReports(NamedTuple):
    """Sums of metrics of the clients of one node and one set of tasks."""

    task_set: int
    """Its index among the roster's."""
    node: int | None
    clients: NDArray[np.int64]
    sums: dict[str, NDArray[np.float64]]
    tallies: dict[str, Tally]


class ReceivedUploads(NamedTuple):
    """Uploads of the clients of one node and one set of tasks."""

    node: int | None
    clients: NDArray[np.int64]
    unpacked: Unpacked
    update_norms: NDArray[np.float64]
    """|w_k − w|, [P]; empty where norms are not bounded."""
    model_norms: NDArray[np.float64]
    """|w|, [P]."""


class MatchedReplies(NamedTuple):
    """Those of a node's replies that answer a request."""

    replies: Replies
    rows: NDArray[np.int64]
    """Of the replies, [A]."""
    requests: NDArray[np.int64]
    """The requests that they answer, [A]."""


class RoundReplies:
    """All nodes' replies to the requests of a round.

    Replies without a request are dropped; of two replies of one client, the last counts.

    Args:
        plan, roster, round, requests: of the round.
        replies: of each node.
        bounds: on weights and norms; None where all nodes are trusted, and no number of theirs is checked.
        examples: training, test and validation examples of each client of the roster, [K, 3]; None where they are not
            known.

    Attributes:
        problems: clients that were asked for an update and gave none that can be used, with the reason.
        rejections: what was left out here.
    """

    def __init__(
        self,
        plan: Plan,
        roster: Roster,
        round: int,
        requests: Requests,
        replies: Sequence[Replies],
        bounds: Bounds | None = None,
        examples: NDArray[np.int64] | None = None,
    ) -> None:
        self.problems: dict[ClientId, str] = {}
        self.rejections: list[Rejection] = []
        self._plan = plan
        self._roster = roster
        self._round = round
        self._requests = requests
        self._training: list[TrainingLosses] = []
        self._bounds = bounds
        self._examples = examples
        self._task_set = roster.task_set(requests.clients)
        self._found = _match(requests.clients, replies)
        asked = requests.train | requests.raw_data
        silent = asked.copy()
        for answer in self._found:
            silent[answer.requests] = False
        self.problems |= dict.fromkeys(requests.clients[silent].tolist(), "no reply")
        if any(each.problems for each in replies):
            wanted = set(requests.clients[asked].tolist())
            for each in replies:
                self.problems |= {c: problem for c, problem in each.problems.items() if c in wanted}
                for client in sorted(set(each.problems) - wanted):  # that only had to measure
                    self._leave_out("error", each.node, client, each.problems[client], "report")

    def node_of(self, client: ClientId) -> int | None:
        """The node that replied for a client."""
        return self._nodes.get(client)

    @cached_property
    def _nodes(self) -> dict[ClientId, int | None]:
        found: dict[ClientId, int | None] = {}
        for replies, rows, _ in self._found:
            found |= dict.fromkeys([*replies.problems, *replies.clients[rows].tolist()], replies.node)
        return found

    def leave_out(self, unusable: Mapping[ClientId, str], kind: str = "update") -> None:
        """Name clients whose uploads cannot be used, with the reason."""
        for client, reason in sorted(unusable.items()):
            self._leave_out(kind, self.node_of(client), client, reason)

    def _leave_out(self, kind: str, node: int | None, client: ClientId, reason: str, part: str = "update") -> None:
        self.rejections.append(Rejection(kind, reason, node, client, part))
        if part == "update":
            self.problems[client] = reason

    def updated(self) -> NDArray[np.int64]:
        """The clients whose updates came, also ones that are of no use: their nodes have kept what they learnt."""
        found = [
            self._requests.clients[places][self._requests.train[places] & (replies.updates.lengths[rows] > 0)]
            for replies, rows, places in self._found
        ]
        return np.concatenate(found) if found else self._requests.clients[:0]

    def count(self, ledger: Ledger) -> None:
        """Every packet that came, also one that is of no use."""
        for replies, rows, places in self._found:
            clients, lengths = self._requests.clients[places], replies.reports.lengths[rows]
            some = self._requests.evaluate[places] & (lengths > 0)
            ledger.record_many(self._round - 1, clients[some], "up", "evaluate", lengths[some])
        for replies, rows, places in self._found:
            clients, lengths = self._requests.clients[places], replies.updates.lengths[rows]
            train, raw_data = self._requests.train[places], self._requests.raw_data[places]
            ledger.record_many(self._round, clients[train], "up", "train", lengths[train])
            ledger.record_many(self._round, clients[raw_data], "up", "raw_data", lengths[raw_data])

    def seconds(self, clients: NDArray[np.int64]) -> NDArray[np.float64]:
        """The training time that each of some clients reported."""
        seconds = np.zeros(len(self._requests))
        for replies, rows, places in self._found:
            seconds[places] = replies.seconds[rows]
        return seconds[np.searchsorted(self._requests.clients, clients)]

    def measurements(self) -> list[ClientMetrics]:
        """The good reports, by set of tasks. A damaged one costs its client's measurement, and no more."""
        parts: list[MetricReports] = []
        for replies, rows, places in self._found:
            some = self._requests.evaluate[places] & (replies.reports.lengths[rows] > 0)
            rows, places, node = rows[some], places[some], replies.node
            for index in np.unique(self._task_set[places]).tolist():
                of = np.flatnonzero(self._task_set[places] == index)
                clients = self._requests.clients[places[of]]

                def damaged(k: int, error: PacketError, clients: Any = clients, node: int | None = node) -> None:
                    self._leave_out(error.kind, node, int(clients[k]), str(error), "report")

                packets = replies.reports.select(rows[of])
                owned = self._roster.task_sets[index]
                if self._requests.full:
                    good, sums, tallies = read_full_reports(self._plan, self._round, owned, packets, damaged)
                else:
                    good, sums = read_reports(self._plan, self._round, owned, packets, damaged)
                    tallies = {}
                parts.append(MetricReports(index, node, clients[good], sums, tallies))
        if self._bounds is not None:
            parts = self._possible(parts)
        measured: dict[int, list[MetricReports]] = {}
        for part in parts:
            measured.setdefault(part.task_set, []).append(part)
        found = []
        for _, some in sorted(measured.items()):
            clients = np.concatenate([part.clients for part in some])
            order = np.argsort(clients)
            sums = {task: np.concatenate([part.sums[task] for part in some])[order] for task in some[0].sums}
            tallies = {task: joined([part.tallies[task] for part in some]).select(order) for task in some[0].tallies}
            if len(clients):
                found.append(ClientMetrics(self._round - 1, clients[order], sums, self._requests.part, tallies))
        return found

    def _possible(self, parts: list[MetricReports]) -> list[MetricReports]:
        """Without the clients whose sums are no metric's."""
        counts = [np.max([sums[:, 0] for sums in part.sums.values()], axis=0) for part in parts]
        known = [self._known(part.clients, 2 if self._requests.part == VALID else 1) for part in parts]
        largest = size_limits(1.0, counts, known, [part.node for part in parts])
        kept = []
        for (index, node, clients, sums, tallies), limits in zip(parts, largest, strict=True):
            good = np.ones(len(clients), bool)
            for task, values in sums.items():
                bad = good & ~possible(self._plan.tasks[task], values, limits)
                for k in np.flatnonzero(bad).tolist():
                    shown = ", ".join(f"{number:g}" for number in values[k, :6])
                    most = f"{limits[k]:g} {self._requests.part} examples"
                    reason = f"sums of task {task!r} that no metric has, of {most}: {shown}"
                    self._leave_out("metrics", node, int(clients[k]), reason, "report")
                good &= ~bad
            for task, tally in tallies.items():
                safe = np.where(good[:, None], sums[task], 0.0)
                bad = good & ~self._plan.kinds[task].possible(safe, tally)
                for k in np.flatnonzero(bad).tolist():
                    most = f"{sums[task][k, 0]:g} {self._requests.part} examples"
                    reason = f"counts of task {task!r} that no outputs have, of {most}"
                    self._leave_out("metrics", node, int(clients[k]), reason, "report")
                good &= ~bad
            rows = np.flatnonzero(good)
            sums = {task: values[rows] for task, values in sums.items()}
            tallies = {task: tally.select(rows) for task, tally in tallies.items()}
            kept.append(MetricReports(index, node, clients[rows], sums, tallies))
        return kept

    def _known(self, clients: NDArray[np.int64], column: int) -> NDArray[np.int64] | None:
        """Training (0), test (1) or validation (2) examples of some clients, as far as the server knows."""
        return None if self._examples is None else self._examples[self._roster.rows(clients), column]

    def uploads(self) -> Uploads:
        """The good uploads, stacked by set of tasks, in client order. Differences are undone.

        Clients whose upload is damaged become ``problems``.
        """
        if any(answer.replies.totals for answer in self._found):
            return Uploads([], self._summed())
        requests, received = self._requests, {}
        bad = np.isin(requests.clients, list(self.problems)) if self.problems else np.zeros(len(requests), bool)
        found: dict[int, list[ReceivedUploads]] = {}
        for index in np.unique(self._task_set[requests.train]).tolist():
            wanted = requests.train & ~bad & (self._task_set == index)
            for replies, rows, places in self._found:
                some = np.flatnonzero(wanted[places])
                if len(some):
                    packets = replies.updates.select(rows[some])
                    part = self._unpack(index, replies.node, places[some], packets, received)
                    found.setdefault(index, []).append(part)
        if self._bounds is not None:
            found = self._within(found, self._bounds)
        stacks = []
        for index, parts in found.items():
            parts = [part for part in parts if len(part.clients)]
            if parts:
                owned = self._roster.task_sets[index]
                for part in parts:
                    self._note(
                        owned, TrainingLosses(part.clients, part.unpacked.num_examples, part.unpacked.train_loss)
                    )
                spec = self._plan.up_spec(int(parts[0].clients[0]), owned)
                clients, num_examples, vectors = _in_client_order(
                    [(part.clients, part.unpacked) for part in parts], spec.size
                )
                stacks.append(Stack(clients, payload_of(vectors, spec), num_examples))
        return Uploads(stacks)

    def _within(self, found: dict[int, list[ReceivedUploads]], bounds: Bounds) -> dict[int, list[ReceivedUploads]]:
        """Without the uploads that weigh too much, or are too far from the model that was sent."""
        parts = [part for some in found.values() for part in some]
        nodes = [part.node for part in parts]
        first = float(np.sqrt(sum(float((w.double() ** 2).sum()) for w in self._plan.initial.values())))
        norms = norm_limits(
            bounds, [part.update_norms for part in parts], [part.model_norms for part in parts], nodes, first
        )
        weights = [part.unpacked.num_examples for part in parts]
        heaviest = size_limits(bounds.weight, weights, [self._known(part.clients, 0) for part in parts], nodes)
        kept = []
        for part, norm, weight in zip(parts, norms, heaviest, strict=True):
            heavy = ~(part.unpacked.num_examples <= weight * (1 + 1e-6))
            far = ~heavy & ~(part.update_norms <= norm)
            for k in np.flatnonzero(heavy).tolist():
                weighs = part.unpacked.num_examples[k]
                reason = f"it weighs {weighs:g} examples, and can have {weight[k]:g} (max_weight)"
                self._leave_out("weight", part.node, int(part.clients[k]), reason)
            for k in np.flatnonzero(far).tolist():
                reason = f"its update is {part.update_norms[k]:.3g} long, and can be {norm[k]:.3g} (max_norm)"
                self._leave_out("norm", part.node, int(part.clients[k]), reason)
            good = np.flatnonzero(~heavy & ~far)
            kept.append(part if len(good) == len(heavy) else _rows_of(part, good))
        each = iter(kept)
        return {index: [next(each) for _ in some] for index, some in found.items()}

    def _summed(self) -> list[Summed]:
        """What nodes of this machine have added up."""
        found = []
        for answer in self._found:
            for owned, clients, vector, num_examples, losses in answer.replies.totals:
                if len(clients):
                    self._note(owned, TrainingLosses(clients, num_examples, losses))
                    spec = self._plan.up_spec(int(clients[0]), owned)
                    found.append(Summed(clients, arrays_of(vector, spec), float(num_examples.sum())))
        return found

    def _note(self, owned: TaskSet, training: TrainingLosses) -> None:
        """Keep the training losses of good uploads of clients with one set of tasks."""
        if self._plan.sends_loss(int(training.clients[0]), owned):
            self._training.append(training)

    def training(self, used: NDArray[np.int64]) -> TrainingLosses:
        """The training losses of the clients whose uploads were used, ascending; after ``uploads``."""
        if not self._training:
            return NO_LOSSES
        whole = TrainingLosses(*(np.concatenate(column) for column in zip(*self._training, strict=True)))
        order = np.argsort(whole.clients)
        return whole.select(order[np.isin(whole.clients[order], used)])

    def _unpack(
        self,
        index: int,
        node: int | None,
        places: NDArray[np.int64],
        packets: Packets,
        received: dict[Any, Payload],
    ) -> ReceivedUploads:
        """Clients of one node and one set of tasks, and what they sent."""
        clients = self._requests.clients[places]
        first, owned = int(clients[0]), self._roster.task_sets[index]
        references, which = None, None
        exact = self._plan.up_codec.traits.lossless
        if not exact or self._bounds is not None:
            references, which = self._received(first, owned, self._requests.packets.select(places), received)

        def damaged(k: int, error: PacketError) -> None:
            self._leave_out(error.kind, node, int(clients[k]), str(error))

        spec = self._plan.up_spec(first, owned)
        unpacked = unpack_payloads(
            packets,
            spec,
            self._plan.up_codec,
            kind=UP,
            round=self._round,
            references=() if exact else references or (),
            broadcast_index=which,
            on_error=damaged,
        )
        apart = lengths = np.zeros(len(unpacked.rows))
        if self._bounds is not None and references is not None and which is not None and spec:
            apart, lengths = update_norms(unpacked.vectors, reference_vectors(references, spec), which[unpacked.rows])
        return ReceivedUploads(node, clients[unpacked.rows], unpacked, apart, lengths)

    def _received(
        self, client: ClientId, owned: Any, sent: Packets, received: dict[Any, Payload]
    ) -> tuple[list[Payload], NDArray[np.int64]]:
        """What the clients made of their broadcasts: those that differ, and which each client has."""
        spec = self._plan.down_spec(client, owned)
        starts, first, which = np.unique(sent.starts, return_index=True, return_inverse=True)
        for start, k in zip(starts.tolist(), first.tolist(), strict=True):
            if (spec, start) not in received:
                received[spec, start] = unpack_payload(
                    sent[k], spec, self._plan.down_codec, kind=DOWN, round=self._round
                )[0]
        return [received[spec, start] for start in starts.tolist()], which

    def raw_data(self) -> dict[ClientId, bytes]:
        """The packets of raw data, by client; without those of more examples than their clients can have."""
        if self._bounds is not None:
            self._leave_out_large_data(self._bounds)
        found = {
            int(self._requests.clients[place]): replies.updates[k]
            for replies, rows, places in self._found
            for k, place in zip(rows.tolist(), places.tolist(), strict=True)
            if self._requests.raw_data[place]
        }
        return {client: packet for client, packet in sorted(found.items()) if client not in self.problems}

    def _leave_out_large_data(self, bounds: Bounds) -> None:
        """Examples are counted by a packet's bytes, before it is opened, and bounded as weights are."""
        parts = []
        for replies, rows, places in self._found:
            sent = self._requests.raw_data[places] & (replies.updates.lengths[rows] > 0)
            for index in np.unique(self._task_set[places[sent]]).tolist():
                some = np.flatnonzero(sent & (self._task_set[places] == index))
                first, each = raw_data_bytes(self._plan, self._roster.task_sets[index])
                claims = 1.0 + np.maximum(replies.updates.lengths[rows[some]] - first, 0) // each
                parts.append((replies.node, self._requests.clients[places[some]], claims))
        known = [self._known(clients, 0) for _, clients, _ in parts]
        most = size_limits(bounds.weight, [part[2] for part in parts], known, [part[0] for part in parts])
        for (node, clients, claims), limits in zip(parts, most, strict=True):
            for k in np.flatnonzero(claims > limits).tolist():
                reason = f"its raw data hold {claims[k]:g} examples, and it can have {limits[k]:g} (max_weight)"
                self._leave_out("size", node, int(clients[k]), reason)


def _match(clients: NDArray[np.int64], replies: Sequence[Replies]) -> list[MatchedReplies]:
    everybody = np.sort(np.concatenate([each.clients for each in replies])) if replies else clients[:0]
    repeated = bool((everybody[1:] == everybody[:-1]).any())
    last: dict[int, tuple[int, int]] = {}
    if repeated:
        for node, each in enumerate(replies):
            last |= {client: (node, k) for k, client in enumerate(each.clients.tolist())}
    found = []
    for node, each in enumerate(replies):
        place = np.searchsorted(clients, each.clients)
        place[place == len(clients)] = 0
        rows = np.flatnonzero(clients[place] == each.clients) if len(clients) else np.zeros(0, np.int64)
        if repeated:
            rows = np.array([k for k in rows.tolist() if last[int(each.clients[k])] == (node, k)], np.int64)
        found.append(MatchedReplies(each, rows, place[rows]))
    return found


def _rows_of(part: ReceivedUploads, rows: NDArray[np.int64]) -> ReceivedUploads:
    return ReceivedUploads(
        part.node, part.clients[rows], part.unpacked.select(rows), part.update_norms[rows], part.model_norms[rows]
    )


def _in_client_order(
    parts: Sequence[tuple[NDArray[np.int64], Unpacked]], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
    """Clients, numbers of examples and vectors of all parts together."""
    clients = np.concatenate([part for part, _ in parts])
    order = np.argsort(clients)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    num_examples, vectors = np.empty(len(clients)), np.empty((len(clients), size), np.float32)
    offset = 0
    for part, unpacked in parts:
        rows = rank[offset : offset + len(part)]
        vectors[rows], num_examples[rows] = unpacked.vectors, unpacked.num_examples
        offset += len(part)
    return clients[order], num_examples, vectors
