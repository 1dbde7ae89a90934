"""A federation of five clients and four kinds of task: what the tests of this folder play with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.algorithms import FedPer
from fedmtl.client.client_pool import ClientPool
from fedmtl.client.state.files import MemoryBackend, VersionedFileStore
from fedmtl.codecs import Dense
from fedmtl.core.types import Payload
from fedmtl.data import Federation
from fedmtl.engines import Loop
from fedmtl.models import MLP
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.make_plan import make_plan
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import Reply, Request, Requests, replies_of
from fedmtl.server.at_server import placement_of
from fedmtl.server.round_result import RoundResult
from fedmtl.server.sampling import cohort_size
from fedmtl.server.schedule import Schedule
from fedmtl.server.server import Server
from fedmtl.server.synchronous import Synchronous
from tests.single_packets import requests_of, unpack_payload
from tests.toys import mixed

DATA = mixed(examples=8, test_examples=4, features=6, classes=3, noise=0.1, ragged=True)
"""4 to 8 examples each."""

MODEL = MLP((4,))
TRUNK_NUMBERS = 6 * 4 + 4
"""Weights and biases of a layer from 6 features to 4."""

Tamper = Callable[[list[Reply]], Iterable[Reply]]


def toy_plan(federation: Federation | None = None, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "algorithm": FedPer(epochs=1),
        "model": MODEL,
        "up_codec": Dense(),
        "down_codec": Dense(),
        "batch_size": 4,
        "seed": 0,
        **changes,
    }
    return make_plan((federation or DATA.load(0)).schema, **values)


@dataclass
class Toy:
    """A server and one node that hosts everybody."""

    server: Server
    client_pool: ClientPool
    store: VersionedFileStore = field(default_factory=lambda: VersionedFileStore(MemoryBackend()))

    @property
    def plan(self) -> Plan:
        return self.server.plan

    def play(self, round: int, tamper: Tamper = list) -> RoundResult:
        """A round whose replies are tampered with on the way."""
        requests = self.open(round)
        replies = tamper(list(self.client_pool.handle(requests, self.store)))
        return self.server.close_round(requests, [replies_of(replies)])

    def open(self, round: int) -> Requests:
        """The requests of exchange ``round``."""
        exchange = self.server.schedule.exchange(round - 1, self.server.best)
        assert exchange is not None
        return self.server.open_round(exchange)

    def cohort(self, round: int) -> NDArray[np.int64]:
        """The clients that train in a round."""
        return self.server.policy.ask(Exchange(round, round - 1), self.server.roster.clients)


def rounds_of(
    clients: int, cohort: int | float, rounds: int, evaluate_every: int = 1, seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """A server's schedule and synchronous policy."""
    metrics, validates = changes.get("metrics", "last"), changes.get("valid_fraction", 0.0) > 0
    return {
        "schedule": Schedule(rounds, evaluate_every, validates, metrics=metrics),
        "policy": Synchronous(cohort_size(cohort, clients), seed),
    }


def requested(round: int, requests: Iterable[Request]) -> Requests:
    """The requests of exchange ``round``."""
    return requests if isinstance(requests, Requests) else requests_of(requests, Exchange(round, round - 1))


@cache
def _loaded() -> Federation:
    return DATA.load(0)


def _plans(federation: Federation, changes: dict[str, Any]) -> tuple[Plan, Plan]:
    """The clients' plan, and the server's own, as on another machine; made once for equal settings of the toy."""
    if federation is not _loaded():
        return toy_plan(federation, **changes), toy_plan(federation, **changes)
    return _made(tuple((name, type(value), value) for name, value in sorted(changes.items())))


@cache
def _made(changes: tuple[tuple[str, type, Any], ...]) -> tuple[Plan, Plan]:
    given = {name: value for name, _, value in changes}
    return toy_plan(_loaded(), **given), toy_plan(_loaded(), **given)


def make_toy(
    federation: Federation | None = None,
    *,
    cohort: int | float = 1.0,
    rounds: int = 3,
    evaluate_every: int = 1,
    evaluate_clients: int = 0,
    engine: Any = None,
    **changes: Any,
) -> Toy:
    federation, engine = federation or _loaded(), engine or Loop()
    of_clients, plan = _plans(federation, changes)
    client_pool = ClientPool(of_clients, federation.clients, engine)
    server = Server(
        plan,
        client_pool.roster,
        **rounds_of(len(federation.clients), cohort, rounds, evaluate_every, **changes),
        evaluate_clients=evaluate_clients,
        placement=placement_of(plan, engine),
    )
    return Toy(server, client_pool)


def measured(outcome: RoundResult) -> list[int]:
    """Who was measured, ascending."""
    return sorted(client for part in outcome.measurements for client in part.clients.tolist())


def read_down(plan: Plan, round: int, request: Request, owned: tuple[str, ...]) -> Payload:
    """What a broadcast says."""
    return unpack_payload(request.packet, plan.downlink(request.client, owned), kind=1, round=round)[0]


def read_up(plan: Plan, round: int, reply: Reply, owned: tuple[str, ...], down: Payload) -> tuple[Payload, float]:
    """What an upload says, and how many examples it weighs."""
    return unpack_payload(reply.update, plan.uplink(reply.client, owned), kind=2, round=round, reference=down)
