"""Jobs of single clients, and cohorts of them, to compare engines with direct calls."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.context import NO_CONTEXT, Context, ContextRows, context_of
from fedmtl.core.trees import tree_leaves, tree_map, tree_structure, tree_unflatten
from fedmtl.core.types import Batch, ClientId, Payload, TaskSet
from fedmtl.data.base import Federation
from fedmtl.data.batches import make_batches
from fedmtl.engines.base import ClientFn, Cohort, Engine, LazyRows, TaskPadding
from fedmtl.protocol.plan import Plan


class Job(NamedTuple):
    """A call of one function."""

    client: int
    function: ClientFn
    down: Payload
    private: Any
    batches: Sequence[Batch]
    owned: TaskSet = ("t",)
    ctx: Context = NO_CONTEXT


def alone(jobs: Sequence[Job]) -> list[Any]:
    """Return the expected results: each function called directly."""
    return [job.function(job.down, job.private, job.batches, job.ctx) for job in jobs]


def cohort_of(jobs: Sequence[Job]) -> Cohort:
    """Return jobs of one function and equal shapes as a cohort; equal objects are one broadcast."""
    downs = list({id(job.down): job.down for job in jobs}.values())
    numbers = {id(down): number for number, down in enumerate(downs)}
    columns = zip(*(tree_leaves(job.private) for job in jobs), strict=True)

    def batches(rows: NDArray[np.int64]) -> list[Batch]:
        return padded([jobs[row].batches for row in rows])

    return Cohort(
        [job.client for job in jobs],
        jobs[0].function,
        downs,
        np.array([numbers[id(job.down)] for job in jobs]),
        tree_unflatten(jobs[0].private, [torch.stack(column) for column in columns]),
        np.array([len(job.batches) for job in jobs]),
        batches,
        jobs[0].owned,
        lambda rows: [lazy(batch) for batch in batches(rows)],
        context=None if jobs[0].ctx is NO_CONTEXT else rows_of([job.ctx for job in jobs]),
    )


def rows_of(contexts: Sequence[Context]) -> ContextRows:
    """Return contexts of clients, stacked."""
    return ContextRows(torch.stack([ctx.round for ctx in contexts]), torch.stack([ctx.own_key() for ctx in contexts]))


def context(plan: Plan, client: ClientId, owned: TaskSet, round: int) -> Context:
    """Return a client's context of a round, as a node makes it."""
    return context_of(plan.seed, round - 1, client) if plan.reads_context(client, owned) else NO_CONTEXT


def lazy(batch: Batch) -> dict[str, Tensor | LazyRows]:
    """Return a batch with lazy rows of examples that are stored in reverse order."""
    found: dict[str, Tensor | LazyRows] = dict(batch)
    for key, value in batch.items():
        if key == "x" or key.startswith("y."):
            index = torch.arange(value.shape[:2].numel()).flip(0).reshape(value.shape[:2])
            found[key] = LazyRows(value.flatten(0, 1).flip(0), index)
    return found


def padded(epochs: Sequence[Sequence[Batch]]) -> list[Batch]:
    """Return the steps [K, B, …] of epochs of K clients, padded with zeros and mask 0 to the longest."""
    steps = max(len(batches) for batches in epochs)
    rows = max(len(batch["mask"]) for batches in epochs for batch in batches)
    stacked: list[Batch] = []
    for step in range(steps):
        batch: dict[str, Tensor] = {}
        for key, example in epochs[0][0].items():
            batch[key] = torch.zeros(len(epochs), rows, *example.shape[1:], dtype=example.dtype)
            for k, batches in enumerate(epochs):
                if step < len(batches):
                    batch[key][k, : len(batches[step][key])] = batches[step][key]
        stacked.append(batch)
    return stacked


def cohorts_of(jobs: Sequence[Job]) -> tuple[list[Cohort], list[list[int]]]:
    """Return cohorts of jobs that are alike, and the indices of each cohort's jobs."""
    alike: dict[Any, list[int]] = {}
    for place, job in enumerate(jobs):
        shapes = tuple((key, value.shape[1:], value.dtype) for key, value in sorted(job.batches[0].items()))
        key = (id(job.function), tree_structure(job.down), tree_structure(job.private), shapes, job.owned)
        alike.setdefault(key, []).append(place)
    return [cohort_of([jobs[place] for place in places]) for places in alike.values()], list(alike.values())


def run(engine: Engine, jobs: Sequence[Job], padding: TaskPadding | None = None) -> list[Any]:
    """Return each job's row of the engine's results, in the order of the jobs."""
    cohorts, places = cohorts_of(jobs)
    found: list[Any] = [None] * len(jobs)
    for result, rows in zip(engine.map(cohorts, padding), places, strict=True):
        for k, place in enumerate(rows):
            found[place] = tree_map(lambda leaf, k=k: leaf[k], result)
    return found


def tensors(tree: Any) -> Any:
    """Return the tree as engines return it, with tensors for numbers."""
    return tree_map(torch.as_tensor, tree)


def assert_close(found: Any, expected: Any) -> None:
    """Compare structure, shapes and dtypes, and numbers to 1e-6."""
    assert tree_structure(found) == tree_structure(tensors(expected))
    for one, other in zip(tree_leaves(found), tree_leaves(tensors(expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def training(plan: Plan, federation: Federation, round: int = 1) -> list[Job]:
    """Return the training of all clients, from heads that differ between clients."""
    jobs = []
    server = plan.first_server({client: data.tasks for client, data in federation.clients.items()})
    for client, data in federation.clients.items():
        draw = np.random.default_rng([round, client])
        private = tree_map(
            lambda leaf, draw=draw: leaf + torch.from_numpy(draw.normal(0, 0.1, leaf.shape).astype(np.float32)),
            plan.init_client(data.tasks, len(data.train.x)),
        )
        order = draw.permutation(len(data.train.x))
        batches = make_batches(data.train.x, data.train.y, plan.batch_size, order)
        down = plan.broadcast(server, client, data.tasks)
        ctx = context(plan, client, data.tasks, round)
        jobs.append(Job(client, plan.training(data.tasks), down, private, batches, data.tasks, ctx))
    return jobs


def measurement(plan: Plan, federation: Federation, round: int = 1) -> list[Job]:
    """Return the measurement of all clients on the test examples, in batches of 3."""
    return [
        job._replace(
            function=plan.measure(job.owned),
            ctx=NO_CONTEXT,
            batches=make_batches(federation.clients[job.client].test.x, federation.clients[job.client].test.y, 3, None),
        )
        for job in training(plan, federation, round)
    ]
