"""Rounds of an algorithm played by hand: no packets, no server, no client pool."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.algorithms import Algorithm
from fedmtl.core.random import permutations
from fedmtl.core.trees import sha256, tree_stack
from fedmtl.core.types import ClientId, Params, Trained, Upload
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.batches import make_batches
from fedmtl.engines import Engine, Loop
from fedmtl.protocol.plan import Plan
from tests.conftest import ALIKE, UNLIKE, is_binary, tiny, tiny_plan
from tests.engines.jobs import Job, context, run


class State(NamedTuple):
    """Of a whole federation, between two rounds."""

    server: Any
    private: Mapping[ClientId, Any]


def start(plan: Plan, federation: Federation) -> State:
    private = {c: plan.init_client(data.tasks, len(data.train.x)) for c, data in federation.clients.items()}
    return State(plan.first_server({c: data.tasks for c, data in federation.clients.items()}), private)


def epoch(plan: Plan, data: ClientData, client: ClientId, round: int) -> list[dict[str, Tensor]]:
    """Shuffled batches, the last of which may be padded."""
    (order,) = permutations(plan.seed, round, np.array([client]), "batches", np.array([len(data.train.x)]))
    return make_batches(data.train.x, data.train.y, plan.batch_size, order)


def jobs(
    plan: Plan, federation: Federation, state: State, round: int = 1, cohort: Sequence[ClientId] | None = None
) -> list[Job]:
    """The cohort's training; everybody's where no cohort is given."""
    found = []
    for client in federation.clients if cohort is None else cohort:
        data = federation.clients[client]
        down = plan.broadcast(state.server, client, data.tasks)
        update = plan.local_update(data.tasks)
        ctx = context(plan, client, data.tasks, round)
        batches = epoch(plan, data, client, round)
        found.append(Job(client, update, down, state.private[client], batches, data.tasks, ctx))
    return found


def measurements(plan: Plan, federation: Federation, state: State) -> list[Job]:
    """Everybody's sums on the test examples, in batches of 3."""
    found = []
    for client, data in federation.clients.items():
        down = plan.broadcast(state.server, client, data.tasks)
        batches = make_batches(data.test.x, data.test.y, 3, None)
        found.append(Job(client, plan.measure(data.tasks), down, state.private[client], batches, data.tasks))
    return found


def play(
    plan: Plan,
    federation: Federation,
    state: State,
    round: int = 1,
    cohort: Sequence[ClientId] | None = None,
    engine: Engine | None = None,
    trained: Sequence[Any] = (),
) -> State:
    """The state after the round, of which ``trained`` are the clients' results if there are any already."""
    work = jobs(plan, federation, state, round, cohort)
    results = trained or run(engine or Loop(), work)
    uploads = [(job.client, result.upload) for job, result in zip(work, results, strict=True)]
    private = {job.client: result.private for job, result in zip(work, results, strict=True)}
    return State(
        plan.algorithm.aggregate(state.server, uploads, plan.server_context(round, "aggregate")),
        {**state.private, **private},
    )


def personal(plan: Plan, federation: Federation, state: State) -> dict[ClientId, Params]:
    """What each client would hand to a device that holds one model; what it predicts with, but for a mixture."""
    return {
        c: plan.algorithm.personal_params(plan.broadcast(state.server, c, data.tasks), state.private[c])
        for c, data in federation.clients.items()
    }


def predictors(plan: Plan, federation: Federation, state: State) -> dict[ClientId, Params]:
    """What each client predicts with; of a mixture, stacked, the models that have a weight for one of its tasks."""
    if plan.mixture is None:
        return personal(plan, federation, state)
    found = {}
    for client, data in federation.clients.items():
        models, weights = plan.mixture(plan.broadcast(state.server, client, data.tasks), state.private[client])
        vectors = [weights[task] for task in data.tasks] if isinstance(weights, Mapping) else [weights]
        assert all(len(vector) == len(models) and float(vector.sum()) == pytest.approx(1) for vector in vectors)
        found[client] = tree_stack([dict(models[m]) for m in torch.stack(vectors).amax(0).nonzero()[:, 0].tolist()])
    return found


class Round(NamedTuple):
    """A round of all clients by the reference engine, and hashes of its inputs on the way."""

    before: State
    jobs: list[Job]
    """Of the training with its loss."""
    trained: list[Trained[Any]]
    after: State
    inputs: Mapping[str, Sequence[str]]
    """Input -> its hash before and after each call that read it."""

    @property
    def uploads(self) -> list[tuple[ClientId, Upload]]:
        return [(job.client, result.upload) for job, result in zip(self.jobs, self.trained, strict=True)]


class Played(NamedTuple):
    """The first two rounds of a tiny federation, which many tests read and none may change."""

    plan: Plan
    federation: Federation
    rounds: tuple[Round, Round]

    @property
    def first(self) -> State:
        return self.rounds[0].before

    @property
    def last(self) -> State:
        return self.rounds[1].after


def two_rounds(algorithm: Algorithm[Any, Any], alike: bool = False) -> Played:
    """Play an algorithm's first two rounds once for all tests of this process."""
    return _two_rounds(algorithm, alike)  # always in this form: a cache takes ``alike=True`` and ``True`` for two calls


@cache
def _two_rounds(algorithm: Algorithm[Any, Any], alike: bool) -> Played:
    federation = tiny(ALIKE if alike else UNLIKE, binary=is_binary(algorithm))
    plan = tiny_plan(federation, algorithm)
    initial = [sha256(dict(plan.initial))]
    torch.manual_seed(1)
    state = start(plan, federation)
    found = []
    for round in (1, 2):
        initial.append(sha256(dict(plan.initial)))
        states = [sha256(state)]
        work = [job._replace(function=plan.training(job.owned)) for job in jobs(plan, federation, state, round)]
        states.append(sha256(state))
        given = [(job.down, job.private, list(job.batches)) for job in work]
        read = [sha256(given)]
        trained = run(Loop(), work)
        read.append(sha256(given))
        sent = [(job.client, result.upload) for job, result in zip(work, trained, strict=True)]
        uploads = [sha256(sent)]
        server = plan.algorithm.aggregate(state.server, sent, plan.server_context(round, "aggregate"))
        uploads.append(sha256(sent))
        states.append(sha256(state))
        after = State(server, {job.client: result.private for job, result in zip(work, trained, strict=True)})
        ended = [sha256(after)]
        personal(plan, federation, after)
        ended.append(sha256(after))
        inputs = {"state": states, "jobs": read, "uploads": uploads, "new state": ended}
        found.append(Round(state, work, trained, after, inputs))
        state = after
    initial.append(sha256(dict(plan.initial)))
    found = [each._replace(inputs={**each.inputs, "initial": initial}) for each in found]
    return Played(plan, federation, (found[0], found[1]))


def union(federation: Federation) -> Federation:
    """One client, 0, that owns everything; a label that its first owner did not have is NaN."""
    owners = federation.clients.values()
    parts = []
    for splits in ([data.train for data in owners], [data.test for data in owners]):
        y = {}
        for name, task in federation.tasks.items():
            blank = [np.full((len(split.x), *task.label_shape), np.nan, np.float32) for split in splits]
            y[name] = np.concatenate([split.y.get(name, b) for split, b in zip(splits, blank, strict=True)])
        parts.append(Split(np.concatenate([s.x for s in splits]), y))
    return Federation(federation.tasks, federation.input_shape, {0: ClientData(*parts)})
