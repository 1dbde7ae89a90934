"""The ways to a model of new clients: as sent, heads on the frozen trunk, all trained further, and all from scratch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.client.data_shard import ShardRows, ShardTable
from fedmtl.client.stages.load import ClientGroup
from fedmtl.client.stages.measure import EVALUATION_BATCH
from fedmtl.core.buffers import is_buffer
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, Params, Payload
from fedmtl.engines.base import ClientFn, Engine
from fedmtl.export.mixture import apart
from fedmtl.models.split import mixed_sums_fn, sums_fn
from fedmtl.onboarding.descent import NewModels, descend, descent
from fedmtl.onboarding.outcome import AS_SENT, HEAD, SCRATCH, TUNED
from fedmtl.onboarding.several import SeveralModels
from fedmtl.optimizers import Optimizer
from fedmtl.protocol.plan import Plan


class Steps(NamedTuple):
    """Steps of one way."""

    number: int
    lr: float


class Descent(NamedTuple):
    """Steps of all ways."""

    head: Steps
    tune: Steps
    """None of them: no fine-tuning."""
    scratch: Steps
    batch_size: int
    optimizer: Optimizer
    seed: int


@dataclass(frozen=True)
class Ways:
    """The ways of clients with one set of tasks.

    Args:
        plan: of the run, with the clients' tasks.
        engine: runs them.
        table: the clients and their examples.
        received: parameters that they have in common, by download.
        own: parameters of each in place of a download, [K, …].
        by: the steps.
        several: the models, where several are sent; nothing is received then beside them.
    """

    plan: Plan
    engine: Engine
    table: ShardTable
    received: Params
    own: Params
    by: Descent
    several: SeveralModels | None = None

    @cached_property
    def first(self) -> Params:
        """The first parameters of a model of these tasks, before any training."""
        return self.plan.restrict(self.plan.initial, self.table.owned)

    @cached_property
    def start(self) -> NewModels:
        """The models as they are sent: parameters that are not are the first ones."""
        return self._completed(self.received, self.own)

    def _completed(self, received: Params, own: Params) -> NewModels:
        return NewModels({name: value for name, value in {**self.first, **received}.items() if name not in own}, own)

    @cached_property
    def _sent(self) -> frozenset[str]:
        return frozenset({*self.received, *self.own}) if self.several is None else self.several.sent

    @cached_property
    def headed(self) -> frozenset[str]:
        """Parameters that a new client trains on a frozen trunk: its heads, and all that is not sent."""
        return frozenset(name for name in self.first if name.startswith("head.") or name not in self._sent)

    @property
    def complete(self) -> bool:
        """True where all parameters are sent, heads too."""
        return set(self.first) <= self._sent

    def all(self, rows: ShardRows) -> Iterator[tuple[str, NewModels]]:
        """Give each way and its models, from the examples that have a label."""
        every, new, several = frozenset(self.first), NewModels(self.first, {}), self.several
        if several is not None and several.mixed:
            yield AS_SENT, several.weighed(rows, self.by.head.number)
        else:
            start = self.start
            if several is not None:
                start = self._completed({}, several.weighed(rows, self.by.head.number).own)
                if self.complete:
                    yield AS_SENT, start
            head = self._run(HEAD, start, self.headed, rows, self.by.head)
            yield HEAD, head
            if self.by.tune.number:
                yield TUNED, self._run(TUNED, head, every, rows, self.by.tune)
        yield SCRATCH, self._run(SCRATCH, new, every, rows, self.by.scratch)

    def _run(self, way: str, start: NewModels, trained: frozenset[str], rows: ShardRows, steps: Steps) -> NewModels:
        function = self._functions.setdefault(way, self._made(way, trained, steps.lr))
        return descend(
            self.engine,
            function,
            start,
            trained,
            self.by.optimizer,
            rows,
            self.table.clients,
            self.table.owned,
            steps=steps.number,
            batch_size=self.by.batch_size,
            seed=self.by.seed,
            purpose=way,
            drawing=self.plan.module.stateful,
        )

    @cached_property
    def _functions(self) -> dict[str, ClientFn]:
        return {}

    def _made(self, way: str, trained: frozenset[str], lr: float) -> ClientFn:
        # A frozen trunk is as it is measured: no dropout, and the running statistics that were sent.
        training = way != HEAD or any(map(is_buffer, trained))
        return descent(self.plan.loss(self.table.owned), trained, self.by.optimizer, lr, training)

    def measure(self, models: NewModels) -> Mapping[str, NDArray[np.float64]]:
        """Return task -> sums of its metric over each client's test examples, [K, s]; 0 for a client without any."""
        clients, test = self.table.clients, self.table.test
        every = np.arange(len(clients))
        some = np.flatnonzero(test.size > 0)
        sizes = self.plan.sums_sizes(self.table.owned)
        found = {task: np.zeros((len(clients), sizes[task])) for task in self.table.owned}
        if len(some):
            own = {"private": dict(models.own)}
            downs = [{"common": models.common}]
            first = np.zeros(len(every), np.int64)
            group = ClientGroup(self.plan, self.table, "", every, every, clients, downs, first, own)
            measure = self._measure_mixture if models.mixed else self._measure
            cohort = group.cohort(measure, test, some, None, EVALUATION_BATCH)
            for task, sums in self.engine.map([cohort])[0].items():
                found[task][some] = sums.numpy()
        return found

    @cached_property
    def _measure(self) -> ClientFn:
        return _added(sums_fn(self.plan.module, self.plan.tasks, self.table.owned))

    @cached_property
    def _measure_mixture(self) -> ClientFn:
        sums = mixed_sums_fn(self.plan.module, self.plan.tasks, self.table.owned)
        return _added(lambda params, batch: sums(*apart(params), batch))


def _added(sums: Callable[[Params, Batch], Mapping[str, torch.Tensor]]) -> ClientFn:
    """Make the function of one client's sums over all batches."""

    def measure(down: Payload, private: Params, batches: Sequence[Batch], ctx: Context) -> Mapping[str, torch.Tensor]:
        parts = [sums({**down["common"], **private}, batch) for batch in batches]
        return {task: torch.stack([part[task] for part in parts]).sum(0) for task in parts[0]}

    return measure
