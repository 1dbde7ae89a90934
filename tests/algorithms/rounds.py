"""Rounds of an algorithm played by hand: no packets, no server, no client pool."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.core.random import permutations
from fedmtl.core.trees import tree_stack
from fedmtl.core.types import ClientId, Params
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.batches import make_batches
from fedmtl.engines import Engine, Loop
from fedmtl.protocol.plan import Plan
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
