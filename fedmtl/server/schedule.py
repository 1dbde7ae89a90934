"""The schedule of a run: the clients that train, measure and send raw data in each round."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.roster import Roster
from fedmtl.protocol.plan import Plan
from fedmtl.server.sampling import cohort_size, measured_clients, sample
from fedmtl.tables.schemas import TEST, VALID


class RoundClients(NamedTuple):
    """The clients that get a request in a round."""

    clients: NDArray[np.int64]
    """Ascending, [V]."""
    evaluate: NDArray[np.bool_]
    """[V]: measures the model of the round before."""
    train: NDArray[np.bool_]
    raw_data: NDArray[np.bool_]
    """[V]: sends its training examples, for centralized algorithms."""


class Schedule:
    """Draws cohorts from the seed, and knows the rounds whose models are measured.

    Args:
        plan: of the experiment.
        roster: every client and the tasks that it owns.
        cohort: clients a round, a number or a fraction.
        rounds: rounds of training.
        evaluate_every: rounds between measured models; the first and the last are always measured.
        evaluate_clients: number of clients that measure, the same each time, drawn from the seed; 0 for all.

    Raises:
        ValueError: a cohort that does not fit the roster, or numbers that are not positive.
    """

    def __init__(
        self,
        plan: Plan,
        roster: Roster,
        *,
        cohort: int | float,
        rounds: int,
        evaluate_every: int,
        evaluate_clients: int = 0,
    ) -> None:
        self.rounds = rounds
        self.measured = measured_clients(roster, evaluate_clients, plan.seed)
        """The clients whose models are measured, ascending."""
        self.measuring = self.measured
        """Those of them that some node hosts."""
        self._plan = plan
        self._roster = roster
        self._size = cohort_size(cohort, len(roster))
        self._evaluate_every = evaluate_every
        self._present = roster.clients

    @property
    def validates(self) -> bool:
        """True where rounds are measured on validation parts."""
        return self._plan.valid_fraction > 0

    @property
    def part(self) -> str:
        """The part of their examples that clients measure rounds on."""
        return VALID if self.validates else TEST

    def set_hosted(self, hosted: NDArray[np.bool_]) -> None:
        """Send requests only to clients that some node hosts, a mask of all clients, [K]."""
        self._present = self._roster.clients[hosted]
        self.measuring = self.measured[hosted[self._roster.rows(self.measured)]]

    def evaluates(self, round: int) -> bool:
        """Return True where the model after ``round`` rounds is measured."""
        return round % self._evaluate_every == 0 or round == self.rounds

    def measures_all(self, round: int) -> bool:
        """Return True where the model after ``round`` rounds is measured by all metrics, if it is measured.

        In a run with validation parts "last" means the test of the best round at the end.
        """
        last = round == self.rounds and not self.validates
        return self._plan.metrics == "all" or (self._plan.metrics == "last" and last)

    def cohort(self, round: int) -> NDArray[np.int64]:
        """Return the clients that train in a round, ascending."""
        return sample(self._plan.seed, round, self._present, min(self._size, len(self._present)))

    def clients(self, round: int) -> RoundClients:
        """Return the clients of a round, each with its work."""
        present, none = self._present, self._roster.clients[:0]
        training = none if round > self.rounds or self._plan.central else self.cohort(round)
        evaluating = self.measuring if self.evaluates(round - 1) else none
        sending = present if self._plan.central and round == 1 else none
        clients = sending if len(sending) else _union(evaluating, training)
        return RoundClients(clients, *(_among(clients, some) for some in (evaluating, training, sending)))


def _union(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the clients that are in either, ascending, without a copy where one holds the other."""
    if not len(others) or (len(some) >= len(others) and _holds(some, others)):
        return some
    return others if not len(some) else np.union1d(some, others)


def _holds(clients: NDArray[np.int64], some: NDArray[np.int64]) -> bool:
    place = np.minimum(np.searchsorted(clients, some), len(clients) - 1)
    return bool((clients[place] == some).all())


def _among(clients: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask of the clients, ascending, that are among some of them."""
    found = np.zeros(len(clients), bool)
    found[np.searchsorted(clients, some)] = True
    return found
