"""A run whose packets are caught on their way, and searches for what should not be in them."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from fedmtl.client.state.mmap import MmapStateStore
from fedmtl.core.trees import tree_index
from fedmtl.core.types import Params
from fedmtl.data import Federation, Synthetic
from fedmtl.engines import Engine
from fedmtl.protocol.packets import DOWN, UP
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import Reply, Request
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.result import Result
from fedmtl.runtime.flower.messages import read_requests
from fedmtl.runtime.flower.received import read_replies
from fedmtl.runtime.local import LocalGrid
from tests.engines.remembered import remembered
from tests.server.toy import DATA, MODEL
from tests.single_packets import unpack_payload

ROUNDS = 2
"""Of each run, so that states, memories of codecs and all that a client has been sent are those of a round before."""


@dataclass
class Caught:
    """All that passed in a run, and all that should not have."""

    plan: Plan
    federation: Federation
    result: Result
    requests: list[tuple[int, Request]] = field(default_factory=list)
    replies: list[tuple[int, Reply]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    private: list[Any] = field(default_factory=list)
    """Every private state that a client began or ended a round with."""

    @property
    def packets(self) -> list[bytes]:
        found = [request.packet for _, request in self.requests]
        for _, reply in self.replies:
            found += [reply.report, reply.update]
        return [packet for packet in found if packet]


@cache
def _plan(algorithm: Any, model: Any, source: Synthetic) -> Plan:
    """The functions and specs of clients: no codec has a part in them."""
    experiment = Experiment(data=source, model=model, algorithm=algorithm, batch_size=4)
    return experiment.make_plan(experiment.load())


@cache
def _shared(algorithm: Any, model: Any, engine: str, source: Synthetic) -> tuple[Plan, Engine]:
    """These functions, and the graphs of an engine that stacks, or what one that does not has computed already."""
    plan = _plan(algorithm, model, source)
    return remembered(copy.copy(plan)) if engine == "loop" else plan, Experiment(engine=engine).make_engine()


def _without_links(plan: Plan) -> dict[Any, Any]:
    """What the plan has made so far, without what has a part in codecs."""
    return {key: made for key, made in plan._by_tasks.items() if key[0] not in ("uplink", "downlink")}


def _with_codecs(shared: Plan, experiment: Experiment) -> Plan:
    """The experiment's plan, with the functions of another that differs in codecs alone."""
    plan = copy.copy(shared)
    plan.up_codec, plan.down_codec = experiment.up_codec, experiment.down_codec
    plan._by_tasks = _without_links(shared)
    plan.__dict__.pop("digest", None)
    return plan


def play(
    algorithm: Any,
    codecs: tuple[Any, Any],
    model: Any = MODEL,
    shares_memory: bool = False,
    engine: str = "vmap",
    data: Synthetic = DATA,
) -> Caught:
    """Some rounds of the toy, watched where messages pass and where states are kept.

    Runs that differ in codecs alone share what clients compute with: tracing it anew would take most of their time.
    """
    experiment = Experiment(
        data=data,
        model=model,
        algorithm=algorithm,
        up_codec=codecs[0],
        down_codec=codecs[1],
        rounds=ROUNDS,
        evaluate_every=ROUNDS,
        cohort=3,
        batch_size=4,
        engine=engine,
        runtime="InProcess",
    )
    shared, graphs = _shared(algorithm, model, engine, data)
    plan = _with_codecs(shared, experiment)
    caught = Caught(plan, experiment.load(), Result(list, list, {}, None))
    exchange, load, save = LocalGrid.send_and_receive, MmapStateStore.load_rows, MmapStateStore.save_rows

    def watch_exchange(grid: LocalGrid, messages: list[Message], *, timeout: float | None = None) -> list[Message]:
        replies = exchange(grid, messages, timeout=timeout)
        for message, reply in zip(messages, replies, strict=True):
            caught.messages += [message, reply]
            if message.metadata.message_type != "query":
                requests = read_requests(plan, message.content)
                round = requests.exchange.number
                caught.requests += [(round, request) for request in requests]
                caught.replies += [(round, reply) for reply in read_replies(reply.content, round)]
        return replies

    def keep(count: int, states: Any) -> None:
        caught.private += [tree_index(states["private"], k) for k in range(count)]

    def watch_load(store: MmapStateStore, kind: str, clients: Any, version: int, first: Any, since: Any) -> Any:
        states = load(store, kind, clients, version, first, since)
        keep(len(clients), states)
        return states

    def watch_save(
        store: MmapStateStore, kind: str, clients: Any, version: int, states: Any, keep_version: int
    ) -> None:
        keep(len(clients), states)
        save(store, kind, clients, version, states, keep_version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "make_plan", lambda *_: plan)
        patch.setattr(Experiment, "make_engine", lambda *_: graphs)
        patch.setattr(LocalGrid, "send_and_receive", watch_exchange)
        patch.setattr(LocalGrid, "shares_memory", shares_memory)
        patch.setattr(MmapStateStore, "load_rows", watch_load)
        patch.setattr(MmapStateStore, "save_rows", watch_save)
        caught.result = run(experiment)
    shared._by_tasks.update(_without_links(plan))
    return caught


def pairs(numbers: np.ndarray) -> set[bytes]:
    """Each two consecutive numbers as they would lie in a packet; pairs of zeros say nothing."""
    data = numbers.astype("<f4").tobytes()
    return {data[i : i + 8] for i in range(0, len(data) - 4, 4)} - {bytes(8)}


def private_pairs(caught: Caught, sent: Sequence[str] = ()) -> set[bytes]:
    """Of the states, without parameters whose names begin with one that the algorithm sends from there."""
    found: set[bytes] = set()
    for state in caught.private:
        found |= _pairs_of([leaf for name, leaf in _named(state) if not name.startswith(tuple(sent))])
    return found


def first_pairs(caught: Caught, sent: Sequence[str]) -> set[bytes]:
    """Of the parameters of each client before any training, those whose names begin with one that is sent."""
    plan, found = caught.plan, set()
    for data in caught.federation.clients.values():
        own = plan.restrict(plan.initial, data.tasks)
        found |= _pairs_of([leaf for name, leaf in _named(dict(own)) if name.startswith(tuple(sent))])
    return found


def _named(tree: Any, name: str = "") -> list[tuple[str, Any]]:
    """Leaves, in order, with the names of the parameters that they are or belong to."""
    if isinstance(tree, Mapping):
        return [leaf for key in sorted(tree) for leaf in _named(tree[key], key)]
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in _named(part, name)]
    return [] if tree is None else [(name, tree)]


def _pairs_of(found: Sequence[Any]) -> set[bytes]:
    return pairs(np.concatenate([leaf.numpy().reshape(-1) for leaf in found])) if found else set()


def data_pairs(federation: Federation) -> set[bytes]:
    found: set[bytes] = set()
    for data in federation.clients.values():
        for split in data:
            found |= pairs(split.x.reshape(-1))
            if "regression_2" in split.y:
                found |= pairs(split.y["regression_2"])
    return found


def leaked_values(caught: Caught, forbidden: set[bytes]) -> int:
    joined = b"|".join(caught.packets)
    return sum(pair in joined for pair in forbidden)


def leaked_names(caught: Caught) -> list[bytes]:
    words = [b"head", b"trunk", b"weight", b"bias", *(task.encode() for task in caught.federation.tasks)]
    return [word for word in words if any(word in packet for packet in caught.packets)]


def decoded_names(caught: Caught) -> list[tuple[str, int, set[str], int]]:
    """Direction, client, names and numbers of each broadcast and upload."""
    plan, found = caught.plan, []

    def note(direction: str, client: int, payload: Mapping[str, Params]) -> None:
        names = {name for params in payload.values() for name in params}
        numbers = sum(value.numel() for params in payload.values() for value in params.values())
        found.append((direction, client, names, numbers))

    downs: dict[tuple[int, int], Any] = {}
    for round, request in caught.requests:
        if request.train or request.evaluate:
            link = plan.downlink(request.client, caught.federation.clients[request.client].tasks)
            payload, _ = unpack_payload(request.packet, link, kind=DOWN, round=round)
            downs[round, request.client] = payload
            note("down", request.client, payload)
    trained = {(round, request.client) for round, request in caught.requests if request.train}
    for round, reply in caught.replies:
        if (round, reply.client) in trained:
            link = plan.uplink(reply.client, caught.federation.clients[reply.client].tasks)
            reference = downs[round, reply.client]
            payload, _ = unpack_payload(reply.update, link, kind=UP, round=round, reference=reference)
            note("up", reply.client, payload)
    return found
