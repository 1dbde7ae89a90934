"""The server's side of a round: packets out, packets in."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.comm.ledger import Ledger
from fedmtl.comm.packets import DOWN, UP, PacketError, Packets, joined
from fedmtl.comm.wire import pack, payload_of, unpack_rows
from fedmtl.federation.central import train_centrally
from fedmtl.federation.cohort import cohort_size, sample
from fedmtl.federation.job import Engine
from fedmtl.federation.outcome import Measurements, Outcome
from fedmtl.federation.plan import Plan
from fedmtl.federation.reports import open_raw_data, open_reports
from fedmtl.federation.visits import Replies, Visits
from fedmtl.rng import rng
from fedmtl.trees import row
from fedmtl.types import ClientId, Payload, TaskSet
from fedmtl.uploads import Stack, Uploads

log = logging.getLogger("fedmtl")


class Server:
    """Aggregates what clients upload and keeps count of every packet.

    Round t of ``rounds`` sends the model of round t − 1: everyone whose turn it is measures it, the cohort
    trains on it, in one visit. One more call, of round ``rounds`` + 1, only measures.

    Args:
        plan: what both sides derive from the experiment.
        roster: every client and the tasks that it owns.
        cohort: clients a round, a number or a fraction.
        rounds: rounds of training.
        evaluate_every: measure everybody's model each so many rounds; the first and last always.
        engine: runs the local update of central algorithms; others do not need it.

    Raises:
        ValueError: an empty roster, a cohort that does not fit it, numbers that are not positive.
    """

    def __init__(
        self,
        plan: Plan,
        roster: Mapping[ClientId, TaskSet],
        *,
        cohort: int | float,
        rounds: int,
        evaluate_every: int,
        engine: Engine,
    ) -> None:
        if not roster:
            raise ValueError("A federation needs at least one client, got an empty roster; is any node connected?")
        self.plan = plan
        self.roster = dict(sorted(roster.items()))
        self.rounds = rounds
        self.ledger = Ledger()
        self.state: Any = plan.algorithm.init_server(plan.initial)
        self.gathered: dict[ClientId, bytes] = {}
        """Raw-data packets of round 1, for central algorithms."""
        self._clients = np.array(list(self.roster), np.int64)
        self._task_sets = sorted(set(self.roster.values()))
        number = {owned: index for index, owned in enumerate(self._task_sets)}
        self._owns = np.array([number[owned] for owned in self.roster.values()])
        """Client by client, the index of its task set."""
        self._size = cohort_size(cohort, len(self.roster))
        self._evaluate_every = evaluate_every
        self._engine = engine

    def evaluates(self, round: int) -> bool:
        """Whether the model after ``round`` rounds is measured."""
        return round % self._evaluate_every == 0 or round == self.rounds

    def cohort(self, round: int) -> NDArray[np.int64]:
        """Who trains in a round, ascending."""
        return sample(self.plan.seed, round, self._clients, self._size)

    def _owned(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of each client's task set."""
        return self._owns[np.searchsorted(self._clients, clients)]

    def open_round(self, round: int) -> Visits:
        """The visits of a round, in client order; the broadcasts are counted."""
        none = np.zeros(0, np.int64)
        training = none if round > self.rounds or self.plan.central else self.cohort(round)
        evaluating = self._clients if self.evaluates(round - 1) else none
        gathering = self._clients if self.plan.central and round == 1 else none
        clients = training if not len(evaluating) and not len(gathering) else self._clients
        evaluate, train, gather = (_among(clients, some) for some in (evaluating, training, gathering))
        visits = Visits(clients, self._broadcasts(round, clients, evaluate | train), evaluate, train, gather)
        lengths = visits.packets.lengths
        # A broadcast that is measured and trained on is one packet, of training.
        self.ledger.record_many(round - 1, clients[~train], "down", "evaluate", lengths[~train])
        self.ledger.record_many(round, clients[train], "down", "train", lengths[train])
        return visits

    def _broadcasts(self, round: int, clients: NDArray[np.int64], told: NDArray[np.bool_]) -> Packets:
        """Equal payloads are packed once: the same tensors, under the same names, as far as a client owns them."""
        broadcast, state = self.plan.algorithm.broadcast, self.state
        packets: list[bytes] = [b""]
        by_records: dict[Any, int] = {}
        by_tensors: dict[Any, int] = {}
        alive: list[Payload] = []  # an id is a tensor's own while it lives
        which = np.zeros(len(clients), np.int64)
        rows = np.flatnonzero(told)
        task_sets = self._owned(clients[rows])
        if getattr(self.plan.algorithm, "one_broadcast", False):  # one client of each task set stands for all
            found, first = np.unique(task_sets, return_index=True)
        else:
            found, first = task_sets, np.arange(len(rows))
        for k, client, owned in zip(rows[first].tolist(), clients[rows[first]].tolist(), found.tolist(), strict=True):
            payload = broadcast(state, client)
            records = (owned, *payload, *map(id, payload.values()))
            place = by_records.get(records)
            if place is None:
                alive.append(payload)
                task_set = self._task_sets[owned]
                payload = {record: self.plan.restrict(params, task_set) for record, params in payload.items()}
                tensors = tuple((r, n, id(params[n])) for r, params in sorted(payload.items()) for n in sorted(params))
                if tensors not in by_tensors:
                    by_tensors[tensors] = len(packets)
                    packets.append(self._pack(round, client, task_set, payload))
                place = by_records[records] = by_tensors[tensors]
            which[k] = place
        if len(first) < len(rows):
            which[rows] = which[rows[first]][np.searchsorted(found, task_sets)]
        return joined(packets).select(which)

    def _pack(self, round: int, client: ClientId, owned: TaskSet, payload: Payload) -> bytes:
        spec, codec = self.plan.down_spec(client, owned), self.plan.down_codec
        chance = rng(self.plan.seed, round, client, "down")
        state = codec.init(spec.size) if spec else None
        return pack(payload, spec, codec, state, chance, kind=DOWN, round=round)[0]

    def close_round(self, round: int, visits: Visits, answers: Sequence[Replies]) -> Outcome:
        """Count and check the replies of all nodes, and aggregate the good ones in client order.

        A reply that is missing, damaged or of another experiment is a problem of its client, never an error.

        Raises:
            RuntimeError: updates were asked for and none could be used.
        """
        outcome = Outcome([], np.zeros(0, np.int64), np.zeros(0), {})
        found = _find(visits, answers)
        seconds = np.zeros(len(visits))
        for replies, places, rows in found:
            seconds[places] = replies.seconds[rows]
        answered = np.zeros(len(visits), bool)
        for _, places, _ in found:
            answered[places] = True
        asked = visits.train | visits.gather
        for client in visits.clients[asked & ~answered].tolist():
            outcome.problems[client] = "no reply"
        self._count(round, visits, found)
        self._measure(round, visits, found, outcome)
        for replies, places, _ in found:
            if replies.problems:
                wanted = set(visits.clients[places[asked[places]]].tolist())
                outcome.problems.update({c: problem for c, problem in replies.problems.items() if c in wanted})
        used = np.zeros(0, np.int64)
        if visits.gather.any():
            self._gather(round, visits, found, outcome)
        if self.plan.central:
            if round <= self.rounds:
                self.state = train_centrally(self.plan, self._engine, round, self.state, self.gathered)
        elif visits.train.any():
            uploads = self._uploads(round, visits, found, outcome)
            used = np.sort(np.concatenate([stack.clients for stack in uploads.stacks] or [used]))
            if not len(used):
                raise RuntimeError(
                    f"No client of round {round} sent an update that could be used: {_some(outcome.problems)}. "
                    "If updates are not finite, lower the learning rate; if nobody replied, look at the nodes."
                )
            self.state = self.plan.algorithm.aggregate(self.state, uploads)
        for client, problem in sorted(outcome.problems.items()):
            log.warning("round %d: client %d left out: %s", round, client, problem)
        return outcome._replace(trained=used, seconds=seconds[np.searchsorted(visits.clients, used)])

    def _count(self, round: int, visits: Visits, found: Sequence["Found"]) -> None:
        for replies, places, rows in found:
            clients, reports = visits.clients[places], replies.reports.lengths[rows]
            some = visits.evaluate[places] & (reports > 0)
            self.ledger.record_many(round - 1, clients[some], "up", "evaluate", reports[some])
        for replies, places, rows in found:
            clients, updates = visits.clients[places], replies.updates.lengths[rows]
            train, gather = visits.train[places], visits.gather[places]
            self.ledger.record_many(round, clients[train], "up", "train", updates[train])
            self.ledger.record_many(round, clients[gather], "up", "gather", updates[gather])

    def _measure(self, round: int, visits: Visits, found: Sequence["Found"], outcome: Outcome) -> None:
        """A damaged report costs its measurement, and no more."""
        measured: dict[int, list[tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]]] = {}
        for replies, places, rows in found:
            some = visits.evaluate[places] & (replies.reports.lengths[rows] > 0)
            if not some.any():
                continue
            clients, rows = visits.clients[places[some]], rows[some]
            task_sets = self._owned(clients)
            for index in np.unique(task_sets).tolist():
                of = np.flatnonzero(task_sets == index)

                def damaged(k: int, error: PacketError, those: NDArray[np.int64] = clients[of]) -> None:
                    log.warning("round %d: report of client %d left out: %s", round, those[k], error)

                packets = replies.reports.select(rows[of])
                good, sums = open_reports(self.plan, round, self._task_sets[index], packets, damaged)
                measured.setdefault(index, []).append((clients[of[good]], sums))
        for _, parts in sorted(measured.items()):
            clients = np.concatenate([part for part, _ in parts])
            order = np.argsort(clients)
            sums = {task: np.concatenate([part[task] for _, part in parts])[order] for task in parts[0][1]}
            if len(clients):
                outcome.measurements.append(Measurements(round - 1, clients[order], sums))

    def _uploads(self, round: int, visits: Visits, found: Sequence["Found"], outcome: Outcome) -> Uploads:
        """The good uploads, stacked by task set, in client order. Differences are undone against what was received."""
        received: dict[Any, Payload] = {}
        stacks = []
        task_sets = self._owned(visits.clients)
        problems = np.isin(visits.clients, list(outcome.problems)) if outcome.problems else np.False_
        for index in np.unique(task_sets[visits.train]).tolist():
            wanted = visits.train & ~problems & (task_sets == index)
            blocks = []
            for replies, places, rows in found:
                some = np.flatnonzero(wanted[places])
                if len(some):
                    blocks.append(
                        self._unpack(round, visits, places[some], replies.updates.select(rows[some]), received, outcome)
                    )
            clients = np.concatenate([clients for clients, _, _ in blocks] or [np.zeros(0, np.int64)])
            if not len(clients):
                continue
            # Each block's rows go to the places that client order gives them.
            rank = np.argsort(np.argsort(clients))
            vectors = np.empty((len(clients), blocks[0][2].shape[1]), np.float32)
            num_examples = np.empty(len(clients))
            offset = 0
            for some, counts, block in blocks:
                rows = rank[offset : offset + len(some)]
                vectors[rows], num_examples[rows] = block, counts
                offset += len(some)
            spec = self.plan.up_spec(int(clients.min()), self._task_sets[index])
            stacks.append(Stack(np.sort(clients), payload_of(vectors, spec), num_examples))
        return Uploads(stacks)

    def _unpack(
        self,
        round: int,
        visits: Visits,
        places: NDArray[np.int64],
        packets: Packets,
        received: dict[Any, Payload],
        outcome: Outcome,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
        """Clients, their numbers of examples and their vectors, of one node and one task set."""
        clients = visits.clients[places]
        owned = self._task_sets[int(self._owned(clients[:1])[0])]
        sent = visits.packets.select(places)
        references: list[Payload] = []
        which = np.zeros(len(clients), np.int64)
        if not getattr(self.plan.up_codec, "exact", False):
            spec = self.plan.down_spec(int(clients[0]), owned)
            starts, first, which = np.unique(sent.starts, return_index=True, return_inverse=True)
            for start, k in zip(starts.tolist(), first.tolist(), strict=True):
                if (spec, start) not in received:
                    down = unpack_rows(
                        sent[k : k + 1], spec, self.plan.down_codec, kind=DOWN, round=round, problem=_raise
                    )
                    received[spec, start] = row(payload_of(down.vectors.copy(), spec), 0)
                references.append(received[spec, start])

        def damaged(k: int, error: PacketError) -> None:
            outcome.problems[int(clients[k])] = str(error)

        unpacked = unpack_rows(
            packets,
            self.plan.up_spec(int(clients[0]), owned),
            self.plan.up_codec,
            kind=UP,
            round=round,
            references=references,
            which=which,
            problem=damaged,
        )
        return clients[unpacked.rows], unpacked.num_examples, unpacked.vectors

    def _gather(self, round: int, visits: Visits, found: Sequence["Found"], outcome: Outcome) -> None:
        if outcome.problems:
            raise RuntimeError(
                f"{self.plan.algorithm!r} needs everybody's data; none came from clients "
                f"{sorted(outcome.problems)[:10]}: {_some(outcome.problems)}."
            )
        gathered = {
            int(visits.clients[place]): replies.updates[k]
            for replies, places, rows in found
            for place, k in zip(places.tolist(), rows.tolist(), strict=True)
            if visits.gather[place]
        }
        self.gathered = dict(sorted(gathered.items()))
        for client, packet in self.gathered.items():
            try:
                open_raw_data(self.plan, round, packet)
            except ValueError as error:
                raise RuntimeError(f"The raw data of client {client} cannot be used: {error}") from error


Found = tuple[Replies, NDArray[np.int64], NDArray[np.int64]]
"""A node's replies, and which visits which of its rows answer."""


def _among(clients: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the clients, ascending, are among some of them."""
    found = np.zeros(len(clients), bool)
    found[np.searchsorted(clients, some)] = True
    return found


def _find(visits: Visits, answers: Sequence[Replies]) -> list[Found]:
    """Match replies with visits. What nobody asked for is dropped; of two answers to one visit, the last counts."""
    last: dict[int, int] = {}
    for node, replies in enumerate(answers):
        last.update(dict.fromkeys(replies.clients.tolist(), node))
    found = []
    for node, replies in enumerate(answers):
        place = np.searchsorted(visits.clients, replies.clients)
        place[place == len(visits)] = 0
        known = visits.clients[place] == replies.clients if len(visits) else np.zeros(len(replies), bool)
        rows = np.flatnonzero(known)
        if len(last) < sum(len(each) for each in answers):
            of = {client: k for k, client in enumerate(replies.clients.tolist()) if last[client] == node}
            rows = np.array([k for k in rows.tolist() if of.get(int(replies.clients[k])) == k], np.int64)
        found.append((replies, place[rows], rows))
    return found


def _raise(_: int, error: ValueError) -> None:
    raise error


def _some(problems: Mapping[ClientId, str]) -> str:
    shown = [f"client {client}: {problem}" for client, problem in sorted(problems.items())[:3]]
    return "; ".join(shown) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
