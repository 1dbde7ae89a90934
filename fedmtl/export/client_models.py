"""Every client's personal model, from the folder of a finished run.

The server's last state is broadcast once more, coded as the run coded it, and each client's private state is read from
where its node saved it: the client's predictions are those that the run measured at its end. One thing may differ where
a part of the clients is chosen: clients with equal broadcasts share one packet, and the codec's randomness is that of
the first of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.client.client_pool import ClientPool
from fedmtl.client.data_shard import shard_of
from fedmtl.core.threads import one_thread
from fedmtl.core.trees import tree_stack
from fedmtl.core.types import Batch, ClientId, Params, Payload, TaskSet
from fedmtl.data.joined import some_of
from fedmtl.engines.base import Cohort, TaskPadding
from fedmtl.engines.batching.streamed import StreamedBatches
from fedmtl.engines.loop import run_one
from fedmtl.export.finished import read_finished
from fedmtl.export.mixture import apart, flat
from fedmtl.models.split import mixed_sums_fn, sums_fn
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.plan_variants import kinds_of
from fedmtl.protocol.requests import Requests
from fedmtl.server.broadcast import broadcasts
from fedmtl.server.sampling import sample
from fedmtl.tasks.base import Task

Sums = Mapping[str, Tensor]
"""Task -> the sums of its metric over a client's test examples."""


class ClientModel(NamedTuple):
    """A client's model, or the several models that it mixes, see ``mixture``."""

    client: ClientId
    params: Params
    measure: Callable[[Params], Sums]
    """Any parameters, on this client's test examples."""


UseModel = Callable[[ClientModel], Sums]
"""Function of a personal model; it returns one of the model's measurements."""


class FinishedRun(NamedTuple):
    """Finished run whose models were rebuilt."""

    tasks: Mapping[str, Task]
    rounds: int
    """Rounds of training behind the models."""
    absent: frozenset[ClientId]
    """Clients that trained, and whose private state is not here: their models do not count."""


def for_each_client_model(
    folder: Path, use: UseModel, clients: int = 0, state: Path | None = None, allow: Iterable[str] = ()
) -> FinishedRun:
    """Rebuild personal models one by one.

    Args:
        folder: of a finished run.
        use: called for each client that has a test example, in no particular order.
        clients: how many, drawn by the run's seed; 0 for all.
        state: a node's state folder (``state-dir``), where private states are kept outside the run folder.
        allow: modules that components of the run may come from besides fedmtl: a run folder is not a program.

    Raises:
        FileNotFoundError: no run folder.
        ValueError: too many clients, or no private state of any.
    """
    found = read_finished(folder, allow, state, with_data=True)
    federation, schema, rounds = found.federation, found.schema, found.version
    plan = found.plan.at(rounds)
    assert federation is not None and found.store is not None
    roster = kinds_of(plan, schema.owners)
    if not 0 <= clients <= len(roster.clients):
        raise ValueError(f"clients is 0 for all, or at most the {len(roster.clients)} that there are, got {clients}.")
    count = clients or len(roster.clients)
    exchange = Exchange(number=rounds + 1, version=rounds, measure=True, last=True)
    chosen = sample(plan.seed, exchange.number, roster.clients, count)
    packets = broadcasts(plan, found.server, roster, exchange, chosen)
    nothing = np.zeros(count, bool)
    requests = Requests(exchange, chosen, packets, ~nothing, nothing, nothing)
    shard = shard_of(some_of(federation.clients, chosen))
    ClientPool(plan, shard, ModelEngine(plan, use)).handle(requests, found.store)
    absent = found.absent
    if len(absent) == count:
        found.refuse_absent()
    return FinishedRun(plan.tasks, rounds, absent)


class ModelEngine:
    """An engine that hands each client's personal model to ``use``, instead of measuring it alone."""

    def __init__(self, plan: Plan, use: UseModel) -> None:
        self._plan = plan
        self._use = use

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        with one_thread():
            return [tree_stack(list(self._results(cohort))) for cohort in cohorts]

    def _results(self, cohort: Cohort) -> Iterator[Sums]:
        predicts = cohort._replace(function=lambda down, private, batches, ctx: _predictor(self._plan, down, private))
        measure_on = _measure(self._plan.of(cohort.clients[0]), cohort.owned)
        for k, client in enumerate(cohort.clients):
            given = cohort.batches(np.array([k]))
            if isinstance(given, StreamedBatches):
                batches: Sequence[Batch] = given.map(lambda value: value[0])
            else:
                batches = [{name: value[0] for name, value in batch.items()} for batch in given]
            yield self._use(ClientModel(int(client), run_one(predicts, k), partial(measure_on, batches)))


def _predictor(plan: Plan, down: Payload, private: Any) -> Params:
    """Return all numbers of a client's predictor."""
    if plan.mixture is not None:
        return flat(*plan.mixture(down, private))
    return plan.algorithm.personal_params(down, private)


def _measure(plan: Plan, owned: TaskSet) -> Callable[[Sequence[Batch], Params], Sums]:
    """(batches, what ``_predictor`` gave) -> task -> the sums of its metric, as ``Plan.measure`` has them."""
    sums, mixed = sums_fn(plan.module, plan.tasks, owned), None
    if plan.mixture is not None:
        mixed = mixed_sums_fn(plan.module, plan.tasks, owned)

    def measure(batches: Sequence[Batch], params: Params) -> Sums:
        parts = [sums(params, batch) if mixed is None else mixed(*apart(params), batch) for batch in batches]
        return {task: torch.stack([part[task] for part in parts]).sum(0) for task in owned}

    return measure
