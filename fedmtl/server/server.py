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
from fedmtl.protocol.permissions import is_divergence
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.rejections import Rejection, count, report
from fedmtl.protocol.requests import Replies, Requests
from fedmtl.server.broadcast import broadcasts
from fedmtl.server.centralized import collect_raw_data, train_centrally
from fedmtl.server.influence import Bounds
from fedmtl.server.metric_replies import client_metrics
from fedmtl.server.replies import RoundReplies, first_problems
from fedmtl.server.reply_checks import packet_limits
from fedmtl.server.round_result import NO_LOSSES, RoundResult
from fedmtl.server.safe_aggregation import aggregate
from fedmtl.server.schedule import Schedule
from fedmtl.server.upload_replies import UploadReader
from fedmtl.tables.schemas import TEST, VALID

log = logging.getLogger("fedmtl")

BOUNDS = Bounds()
"""Bounds by default."""


class Server:
    """Aggregates uploads and counts every packet.

    Round t of ``rounds`` sends the model of round t − 1: in one exchange the scheduled clients measure it, and the
    cohort trains on it. One more call, of round ``rounds`` + 1, only measures.

    Where the plan has validation parts, rounds are measured on these. The caller hands the scores back
    (``record_score``), and at the end has the best round's model tested (``open_test``): then it is the server's state.

    Args:
        plan: what both sides derive from the experiment.
        roster: every client and the tasks that it owns.
        cohort: clients a round, a number or a fraction.
        rounds: rounds of training.
        evaluate_every: rounds between measured models; the first and the last are always measured.
        evaluate_clients: number of clients that measure, the same each time, drawn from the seed; 0 for all.
        engine: runs the local update of centralized algorithms; others do not need it.
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
        """Raw-data packets of round 1, for centralized algorithms."""
        self._roster = Roster(roster)
        self.schedule = Schedule(
            plan,
            self._roster,
            cohort=cohort,
            rounds=rounds,
            evaluate_every=evaluate_every,
            evaluate_clients=evaluate_clients,
        )
        self._engine = engine
        self._bounds = bounds
        self._examples = example_counts(examples, plan.valid_fraction)
        self.since: NDArray[np.int64] = np.zeros(len(roster), np.int64)
        """The last round of which each client, ascending, sent an update, see ``Requests``."""
        self.best = BestRound()
        """The best measured round, where there are validation parts."""
        self.best_snapshot: RoundSnapshot | None = None
        """The server's part of that round."""
        self._measuring: RoundSnapshot | None = None
        """The server's part of the round that is being measured."""
        self.rejected: Counter[str] = Counter()
        """Kind -> number of rejections so far, see ``rejections.KINDS``."""

    @property
    def roster(self) -> Roster:
        """All clients, ascending, and the tasks that each owns."""
        return self._roster

    @cached_property
    def uploads_no_numbers(self) -> bool:
        """True where uploads hold no number, so that the ledger does not show the clients that trained."""
        owned = self._roster.task_sets[int(self._roster.owns[0])]
        return self.plan.up_spec(int(self._roster.clients[0]), owned).size == 0

    def limits(self, requests: Requests) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the largest update and report that each request can need, in bytes."""
        return packet_limits(self.plan, self._roster, requests)

    def record_score(self, round: int, score: float) -> None:
        """Record the score of a round on the validation part, after the call that measured it is closed.

        Raises:
            RuntimeError: that call measured no such round.
        """
        if self._measuring is None or self._measuring.round != round:
            raise RuntimeError(f"Round {round} was not measured by the last call; record its score when it is.")
        self.best = self.best.after(round, score)
        if self.best.round == round:
            self.best_snapshot = self._measuring

    def open_test(self) -> Requests:
        """Open the call that measures the best round's model on the test part; it is closed as round best + 1.

        Raises:
            RuntimeError: no score was recorded.
        """
        if self.best_snapshot is None:
            raise RuntimeError("No round has a score, so there is no best model to test; record one first.")
        round, self.state, since = self.best_snapshot
        clients = self.schedule.measuring
        packets = broadcasts(self.plan, self.state, self._roster, round + 1, clients)
        self.ledger.end_exchange()  # the best round may be the one that was measured just before
        self.ledger.record_many(round, clients, "down", "evaluate", packets.lengths)
        nothing = np.zeros(len(clients), bool)
        since, full = since[self._roster.rows(clients)], self.plan.metrics != "primary"
        return Requests(clients, packets, ~nothing, nothing, nothing, since, TEST, round, full)

    def open_round(self, round: int) -> Requests:
        """Return the requests of a round, in client order, and count the broadcasts."""
        schedule = self.schedule
        clients, evaluate, train, raw_data = schedule.clients(round)
        packets = broadcasts(self.plan, self.state, self._roster, round, clients)
        # A broadcast that is measured and trained on is one packet, of training.
        self.ledger.record_many(round - 1, clients[~train], "down", "evaluate", packets.lengths[~train])
        self.ledger.record_many(round, clients[train], "down", "train", packets.lengths[train])
        since = self.since[self._roster.rows(clients)]
        full = schedule.measures_all(round - 1)
        if not schedule.validates:
            return Requests(clients, packets, evaluate, train, raw_data, since, full=full)
        self._measuring = (
            RoundSnapshot(round - 1, self.state, self.since.copy()) if schedule.evaluates(round - 1) else None
        )
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
            rejections: parts of replies that were left out before.
            trusted: the nodes are workers of this machine, whose numbers need no bounds.
            needs_update: a round without an update, or without some client's raw data, is an error; else the model
                stays as it is, or is trained on the others' data.

        Raises:
            Diverged: updates were asked for, and no number of any was finite.
            RuntimeError: updates were asked for, and none could be used for some other reason.
        """
        bounds = None if trusted else self._bounds
        received = RoundReplies(self.plan, self._roster, round, requests, replies, bounds, self._examples)
        asked = set(requests.clients[requests.train | requests.raw_data].tolist()) if rejections else set()
        for one in rejections:
            if one.client is not None and one.client in asked and one.part == "update":
                received.problems[one.client] = one.reason
        received.count(self.ledger)
        self.since[self._roster.rows(received.updated())] = round
        measurements = client_metrics(received)
        trained, training = self._roster.clients[:0], NO_LOSSES
        if requests.raw_data.any():
            self.raw_data = collect_raw_data(received, needs_update, bool(rejections))
        if self.plan.central:
            if round <= self.rounds and requests.part == self.schedule.part:
                self.state, training = train_centrally(self.plan, self._engine, round, self.state, self.raw_data)
        elif requests.train.any():
            reader = UploadReader(received)
            uploads = reader.uploads()
            if len(uploads.clients):
                self.state, uploads, unusable = aggregate(self.plan, self.state, uploads, received.node_of, trusted)
                received.leave_out(unusable)
            trained = uploads.clients
            training = reader.training(trained)
            self.since[self._roster.rows(trained)] = round  # also those whose algorithm sends no number
        problems = dict(sorted(received.problems.items()))
        left_out = [*rejections, *received.rejections]
        self.rejected += count(left_out)
        report(f"round {round}", left_out)
        named = {one.client for one in left_out if one.part == "update"}
        unnamed = [(client, problem) for client, problem in problems.items() if client not in named]
        report(
            f"round {round}",
            [Rejection("", problem, received.node_of(client), client) for client, problem in unnamed],
        )
        if requests.train.any() and not len(trained):
            why = f"No client of round {round} sent an update that could be used: {first_problems(problems)}"
            if needs_update:
                error = Diverged if problems and all(map(is_divergence, problems.values())) else RuntimeError
                raise error(
                    f"{why}. If updates are not finite, lower the learning rate; if no node replied, look at the nodes."
                )
            log.warning("round %d: the model stays as it is. %s", round, why)
        return RoundResult(measurements, trained, received.seconds(trained), problems, dict(count(left_out)), training)
