"""The server's side of a round: packets out, packets in."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedmtl.comm.ledger import Ledger, Purpose, Transfer
from fedmtl.comm.wire import DOWN, UP, PacketError, pack, unpack
from fedmtl.federation.central import train_centrally
from fedmtl.federation.cohort import cohort_size, sample
from fedmtl.federation.job import Engine
from fedmtl.federation.plan import Plan
from fedmtl.federation.reports import open_raw_data, open_report
from fedmtl.federation.visits import Reply, Visit
from fedmtl.rng import rng
from fedmtl.types import ClientId, Payload, TaskSet, Upload

log = logging.getLogger("fedmtl")


class Measurement(NamedTuple):
    """What one client measured: the model after ``round`` rounds, on its own test examples."""

    round: int
    client: ClientId
    sums: Mapping[str, np.ndarray]
    """Task -> sufficient statistics of its metric."""


class Outcome(NamedTuple):
    """What a round brought."""

    measurements: list[Measurement]
    seconds: dict[ClientId, float]
    """Measured training time of each client that sent an update."""
    problems: dict[ClientId, str]
    """Clients that were asked for an update and gave none that could be used, with the reason."""


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
        self._size = cohort_size(cohort, len(self.roster))
        self._evaluate_every = evaluate_every
        self._engine = engine

    def evaluates(self, round: int) -> bool:
        """Whether the model after ``round`` rounds is measured."""
        return round % self._evaluate_every == 0 or round == self.rounds

    def cohort(self, round: int) -> list[ClientId]:
        """Who trains in a round, ascending."""
        return sample(self.plan.seed, round, list(self.roster), self._size)

    def open_round(self, round: int) -> list[Visit]:
        """The visits of a round, in client order; the broadcasts are counted."""
        last = round > self.rounds
        training = set() if last or self.plan.central else set(self.cohort(round))
        evaluating = set(self.roster) if self.evaluates(round - 1) else set()
        gathering = set(self.roster) if self.plan.central and round == 1 else set()
        packets: dict[Any, tuple[bytes, Payload]] = {}
        visits = []
        for client in sorted(training | evaluating | gathering):
            packet = self._packet(round, client, packets) if client in training | evaluating else b""
            visit = Visit(client, packet, client in evaluating, client in training, client in gathering)
            self._count(round, client, "down", "train" if visit.train else "evaluate", packet)
            visits.append(visit)
        return visits

    def _packet(self, round: int, client: ClientId, packets: dict[Any, tuple[bytes, Payload]]) -> bytes:
        """Equal payloads are packed once: the same tensors, alive in ``packets``, for the same tasks."""
        owned = self.roster[client]
        payload = self.plan.broadcast(self.state, client, owned)
        key = (owned, tuple((r, n, id(v)) for r, params in sorted(payload.items()) for n, v in sorted(params.items())))
        if key not in packets:
            spec = self.plan.down_spec(client, owned)
            codec = self.plan.down_codec
            state = codec.init(spec.size) if spec else None
            chance = rng(self.plan.seed, round, client, "down")
            packet, _ = pack(payload, spec, codec, state, chance, kind=DOWN, round=round)
            packets[key] = packet, payload
        return packets[key][0]

    def _count(self, round: int, client: ClientId, direction: Any, purpose: Purpose, packet: bytes) -> None:
        if purpose == "evaluate":
            round -= 1  # the model that is measured
        self.ledger.record(Transfer(round, client, direction, purpose, len(packet)))

    def close_round(self, round: int, visits: Sequence[Visit], replies: Iterable[Reply]) -> Outcome:
        """Count and check the replies, and aggregate the good ones in client order.

        A reply that is missing, damaged or of another experiment is a problem of its client, never an error.

        Raises:
            RuntimeError: updates were asked for and none could be used.
        """
        by_client = {reply.client: reply for reply in replies}
        outcome = Outcome([], {}, {})
        sent = {visit.client: visit for visit in visits}
        for client, visit in sorted(sent.items()):
            reply = by_client.get(client)
            if reply is None:
                if visit.train or visit.gather:
                    outcome.problems[client] = "no reply"
                continue
            if visit.evaluate and reply.report:
                self._count(round, client, "up", "evaluate", reply.report)
                self._measured(round, client, reply.report, outcome)
            if visit.train or visit.gather:
                self._count(round, client, "up", "train" if visit.train else "gather", reply.update)
                if reply.problem:
                    outcome.problems[client] = reply.problem
                else:
                    outcome.seconds[client] = reply.seconds
        if any(visit.gather for visit in visits):
            self._gather(round, sent, by_client, outcome)
        if self.plan.central:
            if round <= self.rounds:
                self.state = train_centrally(self.plan, self._engine, round, self.state, self.gathered)
        elif any(visit.train for visit in visits):
            training = [client for client in outcome.seconds if sent[client].train]
            uploads = self._uploads(round, visits, {client: by_client[client] for client in training}, outcome)
            first = next(uploads, None)
            if first is None:
                raise RuntimeError(
                    f"No client of round {round} sent an update that could be used: {_some(outcome.problems)}. "
                    "If updates are not finite, lower the learning rate; if nobody replied, look at the nodes."
                )
            self.state = self.plan.algorithm.aggregate(self.state, _chain(first, uploads))
        for client, problem in sorted(outcome.problems.items()):
            log.warning("round %d: client %d left out: %s", round, client, problem)
        return outcome

    def _measured(self, round: int, client: ClientId, report: bytes, outcome: Outcome) -> None:
        try:
            sums = open_report(self.plan, round, self.roster[client], report)
        except PacketError as error:
            log.warning("round %d: report of client %d left out: %s", round, client, error)
        else:
            outcome.measurements.append(Measurement(round - 1, client, sums))

    def _uploads(
        self, round: int, visits: Sequence[Visit], replies: Mapping[ClientId, Reply], outcome: Outcome
    ) -> Iterator[tuple[ClientId, Upload]]:
        """Decode one upload at a time. Differences are undone against what the client received."""
        received: dict[tuple[TaskSet, bytes], Payload] = {}
        for visit in visits:
            client = visit.client
            if client not in replies:
                continue
            owned = self.roster[client]
            key = (owned, visit.packet)
            try:
                if key not in received:
                    spec = self.plan.down_spec(client, owned)
                    received[key], _ = unpack(visit.packet, spec, self.plan.down_codec, kind=DOWN, round=round)
                payload, num_examples = unpack(
                    replies[client].update,
                    self.plan.up_spec(client, owned),
                    self.plan.up_codec,
                    kind=UP,
                    round=round,
                    reference=received[key],
                )
            except PacketError as error:
                outcome.problems[client] = str(error)
                outcome.seconds.pop(client, None)
                continue
            yield client, Upload(payload, num_examples)

    def _gather(
        self, round: int, sent: Mapping[ClientId, Visit], by_client: Mapping[ClientId, Reply], outcome: Outcome
    ) -> None:
        missing = [client for client, visit in sent.items() if visit.gather and client not in outcome.seconds]
        if missing:
            raise RuntimeError(
                f"{self.plan.algorithm!r} needs everybody's data; none came from clients {missing[:10]}: "
                f"{_some(outcome.problems)}."
            )
        self.gathered = {client: by_client[client].update for client in sorted(sent) if sent[client].gather}
        for client, packet in self.gathered.items():
            try:
                open_raw_data(self.plan, round, packet)
            except ValueError as error:
                raise RuntimeError(f"The raw data of client {client} cannot be used: {error}") from error
        outcome.seconds.clear()


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _some(problems: Mapping[ClientId, str]) -> str:
    shown = [f"client {client}: {problem}" for client, problem in sorted(problems.items())[:3]]
    return "; ".join(shown) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
