"""The replies of a round, matched with the visits that they answer, checked and decoded."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.comm.ledger import Ledger
from fedmtl.comm.packets import DOWN, UP, PacketError, Packets
from fedmtl.comm.spec import arrays_of
from fedmtl.comm.wire import Unpacked, payload_of, unpack, unpack_rows
from fedmtl.federation.outcome import Measurements
from fedmtl.federation.plan import Plan
from fedmtl.federation.reports import open_reports
from fedmtl.federation.roster import Roster
from fedmtl.federation.visits import Replies, Visits
from fedmtl.types import ClientId, Payload
from fedmtl.uploads import Stack, Summed, Uploads

log = logging.getLogger("fedmtl")


class Answer(NamedTuple):
    """Those of a node's replies that answer a visit."""

    replies: Replies
    rows: NDArray[np.int64]
    """Of the replies, [A]."""
    visits: NDArray[np.int64]
    """The visits that they answer, [A]."""


class Answers:
    """All nodes' replies to the visits of a round.

    What nobody asked for is dropped; of two answers to one visit, the last counts.

    Attributes:
        problems: clients that were asked for an update and gave none that can be used, with the reason.
    """

    def __init__(self, plan: Plan, roster: Roster, round: int, visits: Visits, replies: Sequence[Replies]) -> None:
        self.problems: dict[ClientId, str] = {}
        self._plan = plan
        self._roster = roster
        self._round = round
        self._visits = visits
        self._task_set = roster.task_set(visits.clients)
        self._found = _match(visits.clients, replies)
        asked = visits.train | visits.gather
        silent = asked.copy()
        for answer in self._found:
            silent[answer.visits] = False
            if answer.replies.problems:
                wanted = set(visits.clients[answer.visits[asked[answer.visits]]].tolist())
                self.problems |= {c: problem for c, problem in answer.replies.problems.items() if c in wanted}
        self.problems |= dict.fromkeys(visits.clients[silent].tolist(), "no reply")

    def count(self, ledger: Ledger) -> None:
        """Every packet that came, also one that is of no use."""
        for replies, rows, places in self._found:
            clients, lengths = self._visits.clients[places], replies.reports.lengths[rows]
            some = self._visits.evaluate[places] & (lengths > 0)
            ledger.record_many(self._round - 1, clients[some], "up", "evaluate", lengths[some])
        for replies, rows, places in self._found:
            clients, lengths = self._visits.clients[places], replies.updates.lengths[rows]
            train, gather = self._visits.train[places], self._visits.gather[places]
            ledger.record_many(self._round, clients[train], "up", "train", lengths[train])
            ledger.record_many(self._round, clients[gather], "up", "gather", lengths[gather])

    def seconds(self, clients: NDArray[np.int64]) -> NDArray[np.float64]:
        """The training time that each of some clients reported."""
        seconds = np.zeros(len(self._visits))
        for replies, rows, places in self._found:
            seconds[places] = replies.seconds[rows]
        return seconds[np.searchsorted(self._visits.clients, clients)]

    def measurements(self) -> list[Measurements]:
        """The good reports, by set of tasks. A damaged one costs its client's measurement, and no more."""
        measured: dict[int, list[tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]]] = {}
        for replies, rows, places in self._found:
            some = self._visits.evaluate[places] & (replies.reports.lengths[rows] > 0)
            rows, places = rows[some], places[some]
            for index in np.unique(self._task_set[places]).tolist():
                of = np.flatnonzero(self._task_set[places] == index)
                clients = self._visits.clients[places[of]]

                def damaged(k: int, error: PacketError, clients: NDArray[np.int64] = clients) -> None:
                    log.warning("round %d: report of client %d left out: %s", self._round, clients[k], error)

                packets = replies.reports.select(rows[of])
                good, sums = open_reports(self._plan, self._round, self._roster.task_sets[index], packets, damaged)
                measured.setdefault(index, []).append((clients[good], sums))
        found = []
        for _, parts in sorted(measured.items()):
            clients = np.concatenate([part for part, _ in parts])
            order = np.argsort(clients)
            sums = {task: np.concatenate([part[task] for _, part in parts])[order] for task in parts[0][1]}
            if len(clients):
                found.append(Measurements(self._round - 1, clients[order], sums))
        return found

    def uploads(self) -> Uploads:
        """The good uploads, stacked by set of tasks, in client order. Differences are undone.

        Clients whose upload is damaged become ``problems``.
        """
        if any(answer.replies.totals for answer in self._found):
            return Uploads([], self._summed())
        visits, received = self._visits, {}
        bad = np.isin(visits.clients, list(self.problems)) if self.problems else np.zeros(len(visits), bool)
        stacks = []
        for index in np.unique(self._task_set[visits.train]).tolist():
            wanted = visits.train & ~bad & (self._task_set == index)
            parts = []
            for replies, rows, places in self._found:
                some = np.flatnonzero(wanted[places])
                if len(some):
                    parts.append(self._unpack(index, places[some], replies.updates.select(rows[some]), received))
            if any(len(clients) for clients, _ in parts):
                spec = self._plan.up_spec(int(parts[0][0][0]), self._roster.task_sets[index])
                clients, num_examples, vectors = _in_client_order(parts, spec.size)
                stacks.append(Stack(clients, payload_of(vectors, spec), num_examples))
        return Uploads(stacks)

    def _summed(self) -> list[Summed]:
        """What nodes of this machine have added up."""
        found = []
        for answer in self._found:
            for owned, clients, vector, num_examples in answer.replies.totals:
                if len(clients):
                    spec = self._plan.up_spec(int(clients[0]), owned)
                    found.append(Summed(clients, arrays_of(vector, spec), num_examples))
        return found

    def _unpack(
        self, index: int, places: NDArray[np.int64], packets: Packets, received: dict[Any, Payload]
    ) -> tuple[NDArray[np.int64], Unpacked]:
        """Clients of one node and one set of tasks, and what they sent."""
        clients = self._visits.clients[places]
        first, owned = int(clients[0]), self._roster.task_sets[index]
        references, which = None, None
        if not getattr(self._plan.up_codec, "exact", False):
            references, which = self._received(first, owned, self._visits.packets.select(places), received)

        def damaged(k: int, error: PacketError) -> None:
            self.problems[int(clients[k])] = str(error)

        unpacked = unpack_rows(
            packets,
            self._plan.up_spec(first, owned),
            self._plan.up_codec,
            kind=UP,
            round=self._round,
            references=references or (),
            which=which,
            problem=damaged,
        )
        return clients[unpacked.rows], unpacked

    def _received(
        self, client: ClientId, owned: Any, sent: Packets, received: dict[Any, Payload]
    ) -> tuple[list[Payload], NDArray[np.int64]]:
        """What the clients made of their broadcasts: those that differ, and which each client has."""
        spec = self._plan.down_spec(client, owned)
        starts, first, which = np.unique(sent.starts, return_index=True, return_inverse=True)
        for start, k in zip(starts.tolist(), first.tolist(), strict=True):
            if (spec, start) not in received:
                received[spec, start] = unpack(sent[k], spec, self._plan.down_codec, kind=DOWN, round=self._round)[0]
        return [received[spec, start] for start in starts.tolist()], which

    def raw_data(self) -> dict[ClientId, bytes]:
        """The packets of raw data, by client."""
        found = {
            int(self._visits.clients[place]): replies.updates[k]
            for replies, rows, places in self._found
            for k, place in zip(rows.tolist(), places.tolist(), strict=True)
            if self._visits.gather[place]
        }
        return dict(sorted(found.items()))


def _match(clients: NDArray[np.int64], replies: Sequence[Replies]) -> list[Answer]:
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
        found.append(Answer(each, rows, place[rows]))
    return found


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
