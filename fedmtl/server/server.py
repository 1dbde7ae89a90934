"""The server's side of a round: packets out, packets in."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.diverged import Diverged
from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.roster import Roster
from fedmtl.data.validation import example_counts
from fedmtl.engines.base import Engine
from fedmtl.protocol.best_round import BestRound, RoundSnapshot
from fedmtl.protocol.ledger import Ledger
from fedmtl.protocol.metrics_report import read_raw_data
from fedmtl.protocol.packets import PacketError
from fedmtl.protocol.permissions import is_divergence
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.rejections import Rejection, count, report
from fedmtl.protocol.requests import Replies, Requests
from fedmtl.server.broadcast import broadcasts
from fedmtl.server.centralized import train_centrally
from fedmtl.server.influence import Bounds
from fedmtl.server.replies import RoundReplies
from fedmtl.server.reply_checks import packet_limits
from fedmtl.server.round_result import NO_LOSSES, RoundResult
from fedmtl.server.safe_aggregation import aggregate
from fedmtl.server.sampling import cohort_size, measured_clients, sample
from fedmtl.tables.schemas import TEST, VALID

log = logging.getLogger("fedmtl")

BOUNDS = Bounds()
"""Bounds by default."""


class Server:
    """Aggregates what clients upload and keeps count of every packet.

    Round t of ``rounds`` sends the model of round t − 1: everyone whose turn it is measures it, the cohort
    trains on it, in one request. One more call, of round ``rounds`` + 1, only measures.

    Where the plan has validation parts, rounds are measured on these. The caller hands the scores back
    (``record_score``), and at the end has the best round's model tested (``open_test``): then it is the server's state.

    Args:
        plan: what both sides derive from the experiment.
        roster: every client and the tasks that it owns.
        cohort: clients a round, a number or a fraction.
        rounds: rounds of training.
        evaluate_every: measure everybody's model each so many rounds; the first and last always.
        evaluate_clients: how many clients are measured, the same each time, drawn from the seed; 0 for all.
        engine: runs the local update of central algorithms; others do not need it.
        bounds: on the weight and the update of a client of a node that is not trusted.
        examples: training and test examples of each client, ascending, [K, 2]; None where they are not known.

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
        evaluate_clients: int = 0,
        engine: Engine,
        bounds: Bounds = BOUNDS,
        examples: NDArray[np.int64] | None = None,
    ) -> None:
        if not roster:
            raise ValueError("A federation needs at least one client, got an empty roster; is any node connected?")
        self.plan = plan
        self.rounds = rounds
        self.ledger = Ledger()
        self.state: Any = plan.first_server(roster)
        self.raw_data: dict[ClientId, bytes] = {}
        """Raw-data packets of round 1, for central algorithms."""
        self._roster = Roster(roster)
        self._size = cohort_size(cohort, len(roster))
        self._evaluate_every = evaluate_every
        self.measured = measured_clients(self._roster, evaluate_clients, plan.seed)
        """The clients whose models are measured, ascending."""
        self._evaluated = self.measured
        self._engine = engine
        self._bounds = bounds
        self._examples = example_counts(examples, plan.valid_fraction)
        self._present = self._roster.clients
        self.since: NDArray[np.int64] = np.zeros(len(roster), np.int64)
        """The last round of which each client, ascending, sent an update, see ``Requests``."""
        self.best = BestRound()
        """The best measured round, where there are validation parts."""
        self.best_snapshot: RoundSnapshot | None = None
        """What the server holds of that round."""
        self._measuring: RoundSnapshot | None = None
        """The same of the round that is being measured."""
        self.rejected: Counter[str] = Counter()
        """Kind -> what was left out so far, see ``rejections.KINDS``."""

    @property
    def roster(self) -> Roster:
        """All clients, ascending, and the tasks that each owns."""
        return self._roster

    @property
    def clients(self) -> Roster:
        """All clients, as arrays."""
        return self._roster

    @cached_property
    def uploads_no_numbers(self) -> bool:
        """Whether uploads of this algorithm hold no number, so that the ledger does not show who trained."""
        owned = self._roster.task_sets[int(self._roster.owns[0])]
        return self.plan.up_spec(int(self._roster.clients[0]), owned).size == 0

    def set_hosted(self, hosted: NDArray[np.bool_]) -> None:
        """Ask only clients that some node hosts.

        Args:
            hosted: of all clients, [K].
        """
        self._present = self._roster.clients[hosted]
        self._evaluated = self.measured[hosted[self._roster.rows(self.measured)]]

    def limits(self, requests: Requests) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The largest update and report that each request can need, in bytes."""
        return packet_limits(self.plan, self._roster, requests)

    def evaluates(self, round: int) -> bool:
        """Whether the model after ``round`` rounds is measured."""
        return round % self._evaluate_every == 0 or round == self.rounds

    def measures_all(self, round: int) -> bool:
        """Whether the model after ``round`` rounds is measured by all metrics when its turn comes.

        Of a run with validation parts "last" means the test of the best round at the end.
        """
        last = round == self.rounds and not self.validates
        return self.plan.metrics == "all" or (self.plan.metrics == "last" and last)

    def cohort(self, round: int) -> NDArray[np.int64]:
        """Who trains in a round, ascending."""
        return sample(self.plan.seed, round, self._present, min(self._size, len(self._present)))

    @property
    def part(self) -> str:
        """The part of their examples that clients measure rounds on."""
        return VALID if self.validates else TEST

    @property
    def validates(self) -> bool:
        """Whether rounds are measured on validation parts."""
        return self.plan.valid_fraction > 0

    def record_score(self, round: int, score: float) -> None:
        """Say what a round scored on the validation part, after the call that measured it is closed.

        Raises:
            RuntimeError: that call measured no such round.
        """
        if self._measuring is None or self._measuring.round != round:
            raise RuntimeError(f"Round {round} was not measured by the last call; record its score when it is.")
        self.best = self.best.after(round, score)
        if self.best.round == round:
            self.best_snapshot = self._measuring

    def open_test(self) -> Requests:
        """The call that measures the best round's model on the test part: its ``close_round`` is of round best + 1.

        Raises:
            RuntimeError: no round was judged.
        """
        if self.best_snapshot is None:
            raise RuntimeError("No round was judged, so there is no best model to test; measure one first.")
        round, self.state, since = self.best_snapshot
        clients = self._evaluated
        packets = broadcasts(self.plan, self.state, self._roster, round + 1, clients)
        self.ledger.end_exchange()  # the best round may be the one that was measured just before
        self.ledger.record_many(round, clients, "down", "evaluate", packets.lengths)
        nothing = np.zeros(len(clients), bool)
        since, full = since[self._roster.rows(clients)], self.plan.metrics != "primary"
        return Requests(clients, packets, ~nothing, nothing, nothing, since, TEST, round, full)

    def open_round(self, round: int) -> Requests:
        """The requests of a round, in client order; the broadcasts are counted."""
        everybody, nobody = self._present, self._roster.clients[:0]
        training = nobody if round > self.rounds or self.plan.central else self.cohort(round)
        evaluating = self._evaluated if self.evaluates(round - 1) else nobody
        sending = everybody if self.plan.central and round == 1 else nobody
        clients = sending if len(sending) else _union(evaluating, training)
        evaluate, train, raw_data = (_among(clients, some) for some in (evaluating, training, sending))
        packets = broadcasts(self.plan, self.state, self._roster, round, clients)
        # A broadcast that is measured and trained on is one packet, of training.
        self.ledger.record_many(round - 1, clients[~train], "down", "evaluate", packets.lengths[~train])
        self.ledger.record_many(round, clients[train], "down", "train", packets.lengths[train])
        since = self.since[self._roster.rows(clients)]
        full = self.measures_all(round - 1)
        if not self.validates:
            return Requests(clients, packets, evaluate, train, raw_data, since, full=full)
        self._measuring = RoundSnapshot(round - 1, self.state, self.since.copy()) if self.evaluates(round - 1) else None
        return Requests(clients, packets, evaluate, train, raw_data, since, VALID, self.best.round, full)

    def close_round(
        self,
        round: int,
        requests: Requests,
        replies: Sequence[Replies],
        *,
        rejections: Sequence[Rejection] = (),
        trusted: bool = False,
        needs_update: bool = True,
    ) -> RoundResult:
        """Count and check the replies of all nodes, and aggregate the good ones in client order.

        A reply that is missing, damaged or of another experiment is a problem of its client, never an error.

        Args:
            rejections: what was left out before.
            trusted: whether the nodes are workers of this machine, whose numbers need no bounds.
            needs_update: whether a round without an update, or without some client's raw data, is an error; else the
                model stays as it is, or is trained on the others' data.

        Raises:
            Diverged: updates were asked for, and no number of any was finite.
            RuntimeError: updates were asked for, and none could be used for some other reason.
        """
        bounds = None if trusted else self._bounds
        answers = RoundReplies(self.plan, self._roster, round, requests, replies, bounds, self._examples)
        asked = set(requests.clients[requests.train | requests.raw_data].tolist()) if rejections else set()
        for one in rejections:
            if one.client is not None and one.client in asked and one.part == "update":
                answers.problems[one.client] = one.reason
        answers.count(self.ledger)
        self.since[self._roster.rows(answers.updated())] = round
        measurements = answers.measurements()
        trained, training = self._roster.clients[:0], NO_LOSSES
        if requests.raw_data.any():
            self._gather(round, answers, needs_update, bool(rejections))
        if self.plan.central:
            if round <= self.rounds and requests.part == self.part:
                self.state, training = train_centrally(self.plan, self._engine, round, self.state, self.raw_data)
        elif requests.train.any():
            uploads = answers.uploads()
            if len(uploads.clients):
                self.state, uploads, unusable = aggregate(self.plan, self.state, uploads, answers.node_of, trusted)
                answers.leave_out(unusable)
            trained = uploads.clients
            training = answers.training(trained)
            self.since[self._roster.rows(trained)] = round  # also those whose algorithm sends no number
        problems = dict(sorted(answers.problems.items()))
        left_out = [*rejections, *answers.rejections]
        self.rejected += count(left_out)
        report(f"round {round}", left_out)
        named = {one.client for one in left_out if one.part == "update"}
        unnamed = [(client, problem) for client, problem in problems.items() if client not in named]
        report(
            f"round {round}",
            [Rejection("", problem, answers.node_of(client), client) for client, problem in unnamed],
        )
        if requests.train.any() and not len(trained):
            why = f"No client of round {round} sent an update that could be used: {_some(problems)}"
            if needs_update:
                error = Diverged if problems and all(map(is_divergence, problems.values())) else RuntimeError
                raise error(
                    f"{why}. If updates are not finite, lower the learning rate; if nobody replied, look at the nodes."
                )
            log.warning("round %d: the model stays as it is. %s", round, why)
        return RoundResult(measurements, trained, answers.seconds(trained), problems, dict(count(left_out)), training)

    def _gather(self, round: int, answers: RoundReplies, needs_all: bool, altered: bool) -> None:
        """Keep the raw data of all clients; or go on without those whose nodes altered it."""
        found = answers.raw_data()
        for client, packet in list(found.items()):
            try:
                read_raw_data(self.plan, round, packet, self._roster[client])
            except PacketError as error:
                answers.leave_out({client: str(error)}, "packet")
                del found[client]
        if answers.problems and (needs_all or not found or not (altered or answers.rejections)):
            raise RuntimeError(
                f"{self.plan.algorithm!r} needs everybody's data; none came from clients "
                f"{sorted(answers.problems)[:10]}: {_some(answers.problems)}."
            )
        self.raw_data = found


def _union(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Clients that are in either, ascending; what holds the other is not copied."""
    if not len(others) or (len(some) >= len(others) and _holds(some, others)):
        return some
    return others if not len(some) else np.union1d(some, others)


def _holds(clients: NDArray[np.int64], some: NDArray[np.int64]) -> bool:
    place = np.minimum(np.searchsorted(clients, some), len(clients) - 1)
    return bool((clients[place] == some).all())


def _among(clients: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the clients, ascending, are among some of them."""
    found = np.zeros(len(clients), bool)
    found[np.searchsorted(clients, some)] = True
    return found


def _some(problems: Mapping[ClientId, str]) -> str:
    shown = [f"client {client}: {problem}" for client, problem in sorted(problems.items())[:3]]
    return "; ".join(shown) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
