"""The replies of a round, matched with the requests that they belong to."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.data.roster import Roster
from fedmtl.protocol.ideal_bits import ideal_bits
from fedmtl.protocol.ledger import Ledger
from fedmtl.protocol.metrics_report import raw_data_bytes
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.rejections import Rejection, report
from fedmtl.protocol.requests import Replies, Requests
from fedmtl.protocol.transfers import body_bits
from fedmtl.server.influence import Bounds, size_limits


class MatchedReplies(NamedTuple):
    """The replies of a node that belong to a request."""

    replies: Replies
    rows: NDArray[np.int64]
    """Their rows among the node's replies, [A]."""
    requests: NDArray[np.int64]
    """The rows of their requests, [A]."""


class RoundReplies:
    """All nodes' replies to the requests of a round.

    Replies without a request are dropped; of two replies of one client, the last counts.

    Args:
        plan, roster, requests: of the round.
        replies: of each node.
        bounds: on weights and norms; None where all nodes are trusted, and no number of theirs is checked.
        examples: training, test and validation examples of each client of the roster, [K, 3]; None where they are not
            known.

    Attributes:
        problems: clients that were asked for an update and gave none that can be used, with the reason.
        rejections: what was left out here.
        late: mask of the requests whose update came after the round was closed.
        lost: mask of the requests whose update never comes on the simulated clock.
        flight: ``InFlight``, where rounds are asynchronous.
        references: ``References``, where broadcasts are changes of a reference.
        memories: ``UploadMemories``, where uploads are changes of what the server remembers of each client.
    """

    def __init__(
        self,
        plan: Plan,
        roster: Roster,
        requests: Requests,
        replies: Sequence[Replies],
        bounds: Bounds | None = None,
        examples: NDArray[np.int64] | None = None,
    ) -> None:
        self.problems: dict[ClientId, str] = {}
        self.rejections: list[Rejection] = []
        self.plan = plan
        self.roster = roster
        self.round = requests.exchange.number
        self.requests = requests
        self.flight: Any = None
        self.references: Any = None
        self.memories: Any = None
        self.late, self.lost = np.zeros(len(requests), bool), np.zeros(len(requests), bool)
        self.bounds = bounds
        self._examples = examples
        self.task_set = roster.task_set(requests.clients)
        self.matched = _match(requests.clients, replies)
        asked = requests.train | requests.raw_data
        silent = asked.copy()
        for reply in self.matched:
            silent[reply.requests] = False
        self.problems |= dict.fromkeys(requests.clients[silent].tolist(), "no reply")
        if any(each.problems for each in replies):
            wanted = set(requests.clients[asked].tolist())
            for each in replies:
                self.problems |= {c: problem for c, problem in each.problems.items() if c in wanted}
                for client in sorted(set(each.problems) - wanted):  # that only had to measure
                    self.leave_out_part("error", each.node, client, each.problems[client], "report")

    def name_problems(self, rejections: Sequence[Rejection]) -> None:
        """Name the problems of clients whose updates were rejected before the replies were matched."""
        asked = set(self.requests.clients[self.requests.train | self.requests.raw_data].tolist()) if rejections else ()
        self.problems |= {
            one.client: one.reason
            for one in rejections
            if one.client is not None and one.client in asked and one.part == "update"
        }

    def report(self, left_out: Sequence[Rejection]) -> None:
        """Log what was left out, and the problems that are not among it."""
        report(f"round {self.round}", left_out)
        named = {one.client for one in left_out if one.part == "update"}
        others = [(client, problem) for client, problem in sorted(self.problems.items()) if client not in named]
        unnamed = [Rejection("", problem, self.node_of(client), client) for client, problem in others]
        report(f"round {self.round}", unnamed)

    def node_of(self, client: ClientId) -> int | None:
        """Return the node that replied for a client."""
        return self._nodes.get(client)

    @cached_property
    def _nodes(self) -> dict[ClientId, int | None]:
        found: dict[ClientId, int | None] = {}
        for replies, rows, _ in self.matched:
            found |= dict.fromkeys([*replies.problems, *replies.clients[rows].tolist()], replies.node)
        return found

    def leave_out(self, unusable: Mapping[ClientId, str], kind: str = "update") -> None:
        """Name clients whose uploads cannot be used, with the reason."""
        for client, reason in sorted(unusable.items()):
            self.leave_out_part(kind, self.node_of(client), client, reason)

    def leave_out_part(self, kind: str, node: int | None, client: ClientId, reason: str, part: str = "update") -> None:
        """Leave out a part of a client's reply."""
        self.rejections.append(Rejection(kind, reason, node, client, part))
        if part == "update":
            self.problems[client] = reason

    def updated(self) -> NDArray[np.int64]:
        """Return the clients whose updates came, useful or not: their nodes have stored a new private state."""
        found = [
            self.requests.clients[places][self.requests.train[places] & (replies.updates.lengths[rows] > 0)]
            for replies, rows, places in self.matched
        ]
        return np.concatenate(found) if found else self.requests.clients[:0]

    def arrived(self) -> NDArray[np.int64]:
        """Return the rows of the requests to train whose reply came, without a problem so far."""
        found = np.zeros(len(self.requests), bool)
        for _, _, places in self.matched:
            found[places] = True
        return np.flatnonzero(found & self.requests.train & ~np.isin(self.requests.clients, list(self.problems)))

    def count(self, ledger: Ledger) -> None:
        """Count every packet that came, useful or not."""
        for replies, rows, places in self.matched:
            clients, lengths = self.requests.clients[places], replies.reports.lengths[rows]
            some = self.requests.evaluate[places] & (lengths > 0)
            ledger.record_many(self.requests.exchange.version, clients[some], "up", "evaluate", lengths[some])
        for replies, rows, places in self.matched:
            clients, lengths = self.requests.clients[places], replies.updates.lengths[rows]
            train, raw_data = self.requests.train[places] & ~self.lost[places], self.requests.raw_data[places]
            bits = self._upload_bits(replies, rows[train], places[train]) if ledger.ideal else None
            ledger.record_many(self.round, clients[train], "up", "train", lengths[train], bits)
            ledger.record_many(self.round, clients[raw_data], "up", "raw_data", lengths[raw_data])

    def _upload_bits(self, replies: Replies, rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ideal bits of some updates of a node, which has measured them where it added them up."""
        clients, found = self.requests.clients[places], body_bits(replies.updates.lengths[rows])
        for total in replies.totals:
            if total.ideal_bits.size:
                own = np.flatnonzero(np.isin(clients, total.clients))
                measured = total.ideal_bits[np.searchsorted(total.clients, clients[own])]
                found[own] = np.clip(measured, 0, found[own])
        sets = self.task_set[places]
        for index in [] if replies.totals else np.unique(sets).tolist():
            own = np.flatnonzero(sets == index)
            link = self.plan.uplink(int(clients[own[0]]), self.roster.task_sets[index])
            found[own] = ideal_bits(replies.updates.select(rows[own]), link)
        return found

    def update_bytes(self) -> NDArray[np.float64]:
        """Return the length of the update, or of the raw data, that came for each request; 0 where none did."""
        found = np.zeros(len(self.requests))
        for replies, rows, places in self.matched:
            found[places] = replies.updates.lengths[rows]
        return found

    def seconds(self, clients: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the training times that some clients reported."""
        seconds = np.zeros(len(self.requests))
        for replies, rows, places in self.matched:
            seconds[places] = replies.seconds[rows]
        return seconds[np.searchsorted(self.requests.clients, clients)]

    def examples_of(self, clients: NDArray[np.int64], column: int) -> NDArray[np.int64] | None:
        """Return the training (0), test (1) or validation (2) examples of some clients; None if they are not known."""
        return None if self._examples is None else self._examples[self.roster.rows(clients), column]

    def raw_data(self) -> dict[ClientId, bytes]:
        """Return the packets of raw data, by client, without those of more examples than their clients can have."""
        if self.bounds is not None:
            self._leave_out_large_data(self.bounds)
        found = {
            int(self.requests.clients[place]): replies.updates[k]
            for replies, rows, places in self.matched
            for k, place in zip(rows.tolist(), places.tolist(), strict=True)
            if self.requests.raw_data[place]
        }
        return {client: packet for client, packet in sorted(found.items()) if client not in self.problems}

    def _leave_out_large_data(self, bounds: Bounds) -> None:
        """Leave out raw data of too many examples, counted by bytes before a packet is read, and bounded as weights."""
        parts = []
        for replies, rows, places in self.matched:
            sent = self.requests.raw_data[places] & (replies.updates.lengths[rows] > 0)
            for index in np.unique(self.task_set[places[sent]]).tolist():
                some = np.flatnonzero(sent & (self.task_set[places] == index))
                first, each = raw_data_bytes(self.plan, self.roster.task_sets[index])
                claims = 1.0 + np.maximum(replies.updates.lengths[rows[some]] - first, 0) // each
                parts.append((replies.node, self.requests.clients[places[some]], claims))
        known = [self.examples_of(clients, 0) for _, clients, _ in parts]
        most = size_limits(bounds.weight, [part[2] for part in parts], known, [part[0] for part in parts])
        for (node, clients, claims), limits in zip(parts, most, strict=True):
            for k in np.flatnonzero(claims > limits).tolist():
                reason = f"its raw data hold {claims[k]:g} examples, and it can have {limits[k]:g} (max_weight)"
                self.leave_out_part("size", node, int(clients[k]), reason)


def _match(clients: NDArray[np.int64], replies: Sequence[Replies]) -> list[MatchedReplies]:
    ordered = np.sort(np.concatenate([each.clients for each in replies])) if replies else clients[:0]
    repeated = bool((ordered[1:] == ordered[:-1]).any())
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


def first_problems(problems: Mapping[ClientId, str]) -> str:
    """Return the first problems as one line of text, and the number of the others."""
    shown = [f"client {client}: {problem}" for client, problem in sorted(problems.items())[:3]]
    return "; ".join(shown) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
