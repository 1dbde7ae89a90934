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
from fedmtl.protocol.best_round import BestRound, RoundSnapshot
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.ledger import Ledger
from fedmtl.protocol.packets import Packets
from fedmtl.protocol.permissions import is_divergence
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.plan_variants import kinds_of
from fedmtl.protocol.rejections import Rejection, count
from fedmtl.protocol.requests import Replies, Requests
from fedmtl.server.broadcast import broadcasts
from fedmtl.server.broadcast_count import count_broadcasts
from fedmtl.server.clock import Clock
from fedmtl.server.influence import Bounds
from fedmtl.server.memories import UploadMemories
from fedmtl.server.metric_replies import client_metrics
from fedmtl.server.placement import Placement
from fedmtl.server.policy import Arrivals, RoundPolicy
from fedmtl.server.references import References
from fedmtl.server.replies import RoundReplies, first_problems
from fedmtl.server.round_result import RoundResult
from fedmtl.server.sampling import among, measured_clients, union
from fedmtl.server.schedule import Schedule

log = logging.getLogger("fedmtl")

BOUNDS = Bounds()
"""Bounds by default."""


class Server:
    """Aggregates uploads and counts every packet.

    An exchange sends a version of the model (see ``Exchange``): the measured clients measure it, and the clients that
    the policy asks train on it. Where the plan has validation parts, versions are measured on these, the caller hands
    their scores back (``record_score``), and the last exchange goes back to the best version.

    Args:
        plan: what both sides derive from the experiment.
        roster: every client and the tasks that it owns.
        schedule: the exchanges of the run.
        policy: decides which clients train, and which replies are in time.
        evaluate_clients: number of clients that measure, the same each time, drawn from the seed; 0 for all.
        placement: of the training examples, see ``placement_of``.
        bounds: on the weight and the update of a client of a node that is not trusted.
        examples: training and test examples of each client, ascending, [K, 2]; None where they are not known.

    Raises:
        ValueError: an empty roster.
    """

    def __init__(
        self,
        plan: Plan,
        roster: Mapping[ClientId, TaskSet],
        *,
        schedule: Schedule,
        policy: RoundPolicy,
        evaluate_clients: int = 0,
        placement: Placement,
        bounds: Bounds = BOUNDS,
        examples: NDArray[np.int64] | None = None,
    ) -> None:
        if not roster:
            raise ValueError("A federation needs at least one client, got an empty roster; is any node connected?")
        self.plan = plan
        self.schedule = schedule
        self.policy = policy
        self.clock = policy if isinstance(policy, Clock) else None
        """The simulated clock; None for none."""
        self.ledger = Ledger(ideal=plan.up_codec.traits.ideal_bits or plan.down_codec.traits.ideal_bits)
        self.state: Any = plan.first_server(roster)
        self.placement = placement
        self.roster = Roster(roster)
        """All clients, ascending, and the tasks that each owns."""
        self.kinds = kinds_of(plan, self.roster)
        """The same, with an entry for each kind of clients that have equal packets."""
        self.measured = measured_clients(self.roster, evaluate_clients, plan.seed)
        """The clients whose models are measured, ascending."""
        self.references = References(plan, self.kinds) if plan.down_codec.traits.delta_only else None
        """The memory of broadcasts that are changes; None where they are whole values."""
        self.memories = UploadMemories(self.roster) if plan.up_codec.traits.receiver_memory else None
        """The memories of uploads; None where the codec's receiver has none."""
        self._present, self._measuring = self.roster.clients, self.measured
        self._bounds = bounds
        self._examples = example_counts(examples, plan.valid_fraction)
        self.since: NDArray[np.int64] = np.zeros(len(roster), np.int64)
        """The newest version that each client, ascending, has trained for, see ``Requests``."""
        self.best = BestRound()
        """The best measured version, where there are validation parts."""
        self.best_snapshot: RoundSnapshot | None = None
        """The server's part of it."""
        self._sent_snapshot: RoundSnapshot | None = None
        """The server's part of the version that is being measured."""
        self.rejected: Counter[str] = Counter()
        """Kind -> number of rejections so far, see ``rejections.KINDS``."""

    @cached_property
    def uploads_no_numbers(self) -> bool:
        """True where uploads hold no number, so that the ledger does not show the clients that trained."""
        owned = self.roster.task_sets[int(self.roster.owns[0])]
        return self.plan.up_spec(int(self.roster.clients[0]), owned).size == 0

    def set_hosted(self, hosted: NDArray[np.bool_]) -> None:
        """Send requests only to clients that some node hosts, a mask of all clients, [K]."""
        self._present = self.roster.clients[hosted]
        self._measuring = self.measured[hosted[self.roster.rows(self.measured)]]

    def spent(self, best: bool = False) -> tuple[float, float] | None:
        """Return the simulated seconds and joules up to the version that the latest exchange sent, or the best one's;
        None without a clock."""
        return None if self.clock is None else (self.clock.best if best else self.clock.sent)

    def record_score(self, version: int, score: float) -> None:
        """Record the score of a version on the validation part, after the exchange that measured it is closed.

        Raises:
            RuntimeError: the last exchange measured no such version.
        """
        if self._sent_snapshot is None or self._sent_snapshot.version != version:
            raise RuntimeError(f"Round {version} was not measured by the last exchange; record its score when it is.")
        self.best = self.best.after(version, score)
        if self.best.round == version:
            self.best_snapshot = self._sent_snapshot
            if self.clock is not None:
                self.clock.best = self.clock.sent

    def open_round(self, exchange: Exchange) -> Requests:
        """Return the requests of an exchange, in client order, and count the broadcasts."""
        since = self.since
        if exchange.last and self.best_snapshot is not None:
            _, self.state, since, references = self.best_snapshot
            if self.references is not None:
                self.references.go_back(references)
        elif self.references is not None:
            self.references.advance(self.state, exchange)
        none = self.roster.clients[:0]
        training, sending = self.placement.ask(exchange, self._present, self.policy)
        measuring = self._measuring if exchange.measure else none
        clients = sending if len(sending) else union(measuring, training)
        evaluate, train, raw_data = (among(clients, some) for some in (measuring, training, sending))
        packets = self._packets(exchange, clients, since[self.roster.rows(clients)])
        # A broadcast that is measured and trained on is one packet, of training.
        self.ledger.end_exchange()
        count_broadcasts(self.ledger, self.plan, self.kinds, exchange, clients, packets, train)
        if self.schedule.validates and not exchange.last:
            held = {} if self.references is None else self.references.snapshot()
            snapshot = RoundSnapshot(exchange.version, self.state, self.since.copy(), held)
            self._sent_snapshot = snapshot if exchange.measure else None
        remembered = None if self.memories is None else self.memories.versions_of(clients)
        since = since[self.roster.rows(clients)]
        return Requests(exchange, clients, packets, evaluate, train, raw_data, since, remembered)

    def _packets(self, exchange: Exchange, clients: NDArray[np.int64], since: NDArray[np.int64]) -> Packets:
        if self.references is not None:
            return self.references.packets(exchange, clients, since)
        return broadcasts(self.plan.at(exchange.version), self.state, self.kinds, exchange, clients)

    def close_round(
        self,
        requests: Requests,
        replies: Sequence[Replies],
        *,
        rejections: Sequence[Rejection] = (),
        trusted: bool = False,
        needs_update: bool = True,
    ) -> RoundResult:
        """Count and check the replies of all nodes, and aggregate the good ones that are in time, in client order.

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
        exchange, bounds = requests.exchange, None if trusted else self._bounds
        plan = self.plan.at(exchange.version)
        received = RoundReplies(plan, self.kinds, requests, replies, bounds, self._examples)
        received.name_problems(rejections)
        received.flight = None if self.clock is None else self.clock.flight
        received.references, received.memories = self.references, self.memories
        times = None if self.clock is None else self.clock.elapse(received)
        received.count(self.ledger)
        updated = received.updated()
        self.since[self.roster.rows(updated)] = exchange.makes
        if self.references is not None:
            self.references.note(updated, replies)
        late = self._leave_out_late(received)
        late = late[~received.lost[np.searchsorted(requests.clients, late)]]
        measurements = client_metrics(received)
        update = self.placement.update(self.state, received, trusted, needs_update, bool(rejections))
        self.state, trained = update.state, update.trained
        self.since[self.roster.rows(trained)] = exchange.makes  # also those whose algorithm sends no number
        left_out = [*rejections, *received.rejections]
        self.rejected += count(left_out) + Counter(late=len(late))
        received.report(left_out)
        problems = dict(sorted(received.problems.items()))
        if requests.train.any() and not len(trained):
            left = {} if times is None else dict.fromkeys(times.clients[times.outcome > 0].tolist(), "late or dropped")
            _no_update(exchange.number, problems or left, needs_update and not left)
        seconds = received.seconds(trained)
        counts = dict(count(left_out))
        return RoundResult(measurements, trained, seconds, problems, counts, update.training, late, times)

    def _leave_out_late(self, received: RoundReplies) -> NDArray[np.int64]:
        """Leave out the updates that come after the policy has closed the round, and return their clients."""
        if self.policy.needs_all:
            return self.roster.clients[:0]
        rows, requests = received.arrived(), received.requests
        clients = requests.clients[rows]
        in_time = self.policy.close(requests.exchange, Arrivals(clients, received.seconds(clients)))
        late = clients[~in_time]
        received.late[rows[~in_time]] = True
        self.since[self.roster.rows(late)] = requests.exchange.makes
        return late


def _no_update(number: int, problems: Mapping[ClientId, str], needed: bool) -> None:
    """Log that a round has no update, or raise it as an error."""
    why = f"No client of round {number} sent an update that could be used: {first_problems(problems)}"
    if needed:
        error = Diverged if problems and all(map(is_divergence, problems.values())) else RuntimeError
        raise error(
            f"{why}. If updates are not finite, lower the learning rate; if no node replied, look at the nodes."
        )
    log.warning("round %d: the model stays as it is. %s", number, why)
