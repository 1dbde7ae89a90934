"""Round policies: the synchronous one, and toys that a later one can be written like."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.algorithms import FedAvg, Local
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.requests import Replies, Requests, replies_of
from fedmtl.server.policy import Arrivals, RoundPolicy
from fedmtl.server.sampling import sample
from fedmtl.server.synchronous import Synchronous
from tests.server.toy import Toy, make_toy, read_down, read_up

SECONDS = {0: 0.5, 1: 0.1, 2: 0.4, 3: 0.3, 4: 0.2}
"""Client -> its training time: 1, 4, 3, 2, 0 is the order of replies."""


@dataclass(frozen=True)
class OverSelection:
    """Asks ``factor`` times as many clients as a round needs, and closes it with the first replies."""

    size: int
    seed: int
    factor: float = 1.3

    @property
    def needs_all(self) -> bool:
        return False

    def ask(self, exchange: Exchange, present: NDArray[np.int64]) -> NDArray[np.int64]:
        return sample(self.seed, exchange.number, present, min(round(self.factor * self.size), len(present)))

    def wait_seconds(self, exchange: Exchange) -> float | None:
        return None

    def close(self, exchange: Exchange, arrivals: Arrivals) -> NDArray[np.bool_]:
        rank = np.lexsort((arrivals.clients, arrivals.seconds)).argsort()
        return rank < self.size


@dataclass(frozen=True)
class Deadline(OverSelection):
    """Asks a cohort, and closes the round by the clock."""

    most: float = 0.25

    def close(self, exchange: Exchange, arrivals: Arrivals) -> NDArray[np.bool_]:
        return arrivals.seconds <= self.most


def reply(toy: Toy, requests: Requests) -> Replies:
    """The node's replies, with the seconds of ``SECONDS``."""
    replies = list(toy.client_pool.handle(requests, toy.store))
    return replies_of(one._replace(seconds=SECONDS[one.client]) for one in replies)


def toy_of(policy: RoundPolicy, **changes: Any) -> Toy:
    toy = make_toy(**{"algorithm": FedAvg(epochs=1), **changes})
    toy.server.policy = policy
    return toy


def test_over_selection_aggregates_the_first_replies_and_counts_the_others_as_wasted() -> None:
    """1.25 · 4 = 5 clients are asked, and the slowest, 0, is late: the mean is that of 1, 2, 3 and 4."""
    toy = toy_of(OverSelection(4, 0, 1.25))
    requests = toy.open(1)
    assert requests.clients[requests.train].tolist() == [0, 1, 2, 3, 4]
    replies = reply(toy, requests)
    outcome = toy.server.close_round(requests, [replies])
    assert (outcome.trained.tolist(), outcome.late.tolist()) == ([1, 2, 3, 4], [0])
    assert not outcome.problems and outcome.seconds.tolist() == [SECONDS[client] for client in (1, 2, 3, 4)]
    sums: dict[str, NDArray[np.float64]] = {}
    weights: dict[str, float] = {}
    for request, one in zip(requests, replies, strict=True):
        owned = toy.server.roster[request.client]
        payload, n = read_up(toy.plan, 1, one, owned, read_down(toy.plan, 1, request, owned))
        (params,) = payload.values()
        for name, value in params.items():
            if request.client != 0:
                sums[name] = sums.get(name, 0.0) + n * value.double().numpy()
                weights[name] = weights.get(name, 0.0) + n
    for name, total in sums.items():
        np.testing.assert_allclose(toy.server.state[name].numpy(), total / weights[name], rtol=1e-6, atol=1e-7)


def test_bytes_of_late_replies_are_counted_and_their_nodes_have_the_new_state() -> None:
    late, all_in_time = toy_of(OverSelection(4, 0, 1.25)), toy_of(Synchronous(5, 0))
    for toy in (late, all_in_time):
        requests = toy.open(1)
        toy.server.close_round(requests, [reply(toy, requests)])
    assert late.server.ledger.transfers == all_in_time.server.ledger.transfers
    assert late.server.since.tolist() == [1, 1, 1, 1, 1]
    requests = late.open(2)
    outcome = late.server.close_round(requests, [reply(late, requests)])
    assert outcome.late.tolist() == [0]  # asked again, from the state of its first training


def test_a_measurement_that_is_late_with_its_update_counts() -> None:
    toy = toy_of(OverSelection(4, 0, 1.25))
    requests = toy.open(1)
    outcome = toy.server.close_round(requests, [reply(toy, requests)])
    assert sorted(c for part in outcome.measurements for c in part.clients.tolist()) == [0, 1, 2, 3, 4]


def test_a_deadline_closes_a_round_by_the_clock() -> None:
    toy = toy_of(Deadline(5, 0, 1.0))
    requests = toy.open(1)
    outcome = toy.server.close_round(requests, [reply(toy, requests)])
    assert (outcome.trained.tolist(), outcome.late.tolist()) == ([1, 4], [0, 2, 3])
    assert not outcome.problems and not outcome.rejected


def test_a_round_whose_replies_are_all_late_has_no_update() -> None:
    toy = toy_of(Deadline(5, 0, 1.0, most=0.01))
    requests = toy.open(1)
    replies = reply(toy, requests)
    with pytest.raises(RuntimeError, match="No client of round 1 sent an update that could be used"):
        toy.server.close_round(requests, [replies])


def test_the_synchronous_policy_waits_for_all() -> None:
    policy, present = Synchronous(3, 7, seconds=60.0), np.arange(10)
    assert policy.needs_all and policy.wait_seconds(Exchange(1, 0)) == 60.0
    cohorts = [policy.ask(Exchange(t, t - 1), present).tolist() for t in range(1, 20)]
    assert cohorts == [sample(7, t, present, 3).tolist() for t in range(1, 20)]
    assert policy.ask(Exchange(1, 0), np.array([4, 8])).tolist() == [4, 8]  # fewer are hosted than a cohort has
    assert policy.close(Exchange(1, 0), Arrivals(np.array([4, 8]), np.array([0.0, 9e9]))).all()
    assert replace(policy, seconds=None).wait_seconds(Exchange(1, 0)) is None


def test_an_algorithm_that_sends_no_number_has_late_replies_too() -> None:
    """Nothing comes but the reply itself; its node has the state of version 1."""
    toy = toy_of(Deadline(5, 0, 1.0), algorithm=Local(epochs=1))
    requests = toy.open(1)
    outcome = toy.server.close_round(requests, [reply(toy, requests)])
    assert (outcome.trained.tolist(), outcome.late.tolist()) == ([1, 4], [0, 2, 3])
    assert toy.server.since.tolist() == [1] * 5 and toy.server.rejected == {"late": 3}
