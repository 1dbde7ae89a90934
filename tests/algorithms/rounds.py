"""Rounds of an algorithm played by hand: no packets, no server, no fleet."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.engines import Cohort, Engine, Loop, Wide
from fedmtl.federation.job import ClientFn
from fedmtl.federation.plan import Plan
from fedmtl.optim import make_batches
from fedmtl.rng import permutations
from fedmtl.trees import row, stack, structure
from fedmtl.types import Batch, ClientId, Params, Payload, TaskSet


class Job(NamedTuple):
    """One client's share of the work."""

    client: ClientId
    function: ClientFn
    down: Payload
    private: Any
    batches: Sequence[Batch]
    owned: TaskSet


def run(work: Sequence[Job], engine: Engine | None = None, wide: Wide | None = None) -> list[Any]:
    """Each job's result, in their order, from cohorts as a fleet makes them: of equal functions and structures."""
    alike: dict[Any, list[int]] = {}
    for index, job in enumerate(work):
        alike.setdefault((id(job.function), structure(job.private), structure(job.down)), []).append(index)
    cohorts = [cohort_of([work[index] for index in members]) for members in alike.values()]
    stacked = (engine or Loop()).map(cohorts, wide)
    results: list[Any] = [None] * len(work)
    for members, result in zip(alike.values(), stacked, strict=True):
        for k, index in enumerate(members):
            results[index] = row(result, k)
    return results


def cohort_of(work: Sequence[Job]) -> Cohort:
    """Jobs of one function and structure, stacked; short epochs are padded with zeros under mask 0."""
    places = {id(job.down): place for place, job in enumerate(work)}
    downs = sorted(set(places.values()))

    def batches(rows: NDArray[np.int64]) -> list[Batch]:
        epochs = [work[k].batches for k in rows]
        longest, size = max(map(len, epochs)), max(len(epoch[0]["mask"]) for epoch in epochs)
        padded = []
        for step in range(longest):
            batch = {}
            for key, example in epochs[0][0].items():
                batch[key] = torch.zeros(len(rows), size, *example.shape[1:], dtype=example.dtype)
                for k, epoch in enumerate(epochs):
                    if step < len(epoch):
                        batch[key][k, : len(epoch[step][key])] = epoch[step][key]
            padded.append(batch)
        return padded

    return Cohort(
        clients=[job.client for job in work],
        function=work[0].function,
        downs=[work[place].down for place in downs],
        which=np.array([downs.index(places[id(job.down)]) for job in work]),
        private=stack([job.private for job in work]),
        steps=np.array([len(job.batches) for job in work]),
        batches=batches,
        owned=work[0].owned,
    )


class State(NamedTuple):
    """Of a whole federation, between two rounds."""

    server: Any
    private: Mapping[ClientId, Any]


def start(plan: Plan, federation: Federation) -> State:
    private = {c: plan.init_client(data.tasks, len(data.train.x)) for c, data in federation.clients.items()}
    return State(plan.algorithm.init_server(plan.initial), private)


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
        found.append(Job(client, update, down, state.private[client], epoch(plan, data, client, round), data.tasks))
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
) -> State:
    """The state after the round."""
    work = jobs(plan, federation, state, round, cohort)
    results = run(work, engine)
    uploads = [(job.client, result.upload) for job, result in zip(work, results, strict=True)]
    private = {job.client: result.private for job, result in zip(work, results, strict=True)}
    return State(plan.algorithm.aggregate(state.server, uploads), {**state.private, **private})


def personal(plan: Plan, federation: Federation, state: State) -> dict[ClientId, Params]:
    """What each client predicts with."""
    return {
        c: plan.algorithm.personal_params(plan.broadcast(state.server, c, data.tasks), state.private[c])
        for c, data in federation.clients.items()
    }


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
