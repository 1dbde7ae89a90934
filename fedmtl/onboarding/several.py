"""New clients of a method that sends several models: each weighs them by its labels, then mixes them or takes one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from fedmtl.algorithms.base import Weights
from fedmtl.client.data_shard import ShardRows, ShardTable
from fedmtl.client.stages.load import ClientGroup
from fedmtl.client.stages.measure import EVALUATION_BATCH
from fedmtl.core.context import Context
from fedmtl.core.trees import tree_stack
from fedmtl.core.types import Batch, Params, Payload, TaskSet
from fedmtl.engines.base import ClientFn, Engine
from fedmtl.export.mixture import flat
from fedmtl.onboarding.descent import NewModels
from fedmtl.protocol.plan import Plan


@dataclass(frozen=True)
class SeveralModels:
    """The M models of a broadcast, for clients with one set of tasks.

    Args:
        plan: of the run, with the clients' tasks.
        engine: runs them.
        table: the clients.
        payload: the broadcast, decoded.
        known: tasks of the run, among which the clients' own weigh the models.

    Raises:
        ValueError: a task that the run does not have, of which the models say nothing.
    """

    plan: Plan
    engine: Engine
    table: ShardTable
    payload: Payload
    known: TaskSet

    def __post_init__(self) -> None:
        new = [task for task in self.table.owned if task not in self.known]
        if new and (self.mixed or not self._owned):
            what = "predicts with a mixture of models, none" if self.mixed else "chooses a model by its tasks, none"
            raise ValueError(
                f"{self.plan.algorithm!r} {what} of which is of the new task {new[0]!r}; leave out the task, or train "
                "with a method of one trunk, such as FedPer."
            )

    @property
    def mixed(self) -> bool:
        """True where clients predict with a mixture, and False where each takes one of the models."""
        return self.plan.algorithm.traits.mixture

    @property
    def _owned(self) -> TaskSet:
        return tuple(task for task in self.table.owned if task in self.known)

    @cached_property
    def _private(self) -> Any:
        return self.plan.init_client(self.table.owned, 1)

    @cached_property
    def models(self) -> Sequence[Params]:
        """The M models, which all clients receive alike."""
        algorithm: Any = self.plan.algorithm
        return algorithm.sent_models(self.payload, self._private)

    @cached_property
    def sent(self) -> frozenset[str]:
        """Names of the parameters that were sent, and not drawn."""
        return frozenset(name for params in self.payload.values() for name in params)

    def weighed(self, rows: ShardRows, steps: int) -> NewModels:
        """Return the clients' mixtures, or the models that they take, from their labelled examples.

        Args:
            rows: the clients' examples, each with at least one.
            steps: of what is fitted to them, such as a mixture's weights.
        """
        every = np.arange(len(self.table.clients))
        first, private = np.zeros(len(every), np.int64), tree_stack([self._private] * len(every))
        group = ClientGroup(
            self.plan, self.table, "", every, every, self.table.clients, [self.payload], first, {"private": private}
        )
        cohort = group.cohort(self._function(steps), rows, every, None, EVALUATION_BATCH)
        weights: Weights = self.engine.map([cohort])[0]
        if self.mixed:
            return NewModels(flat(self.models, {}), flat([], weights))
        assert isinstance(weights, Tensor)
        best = weights.argmax(1).cpu()
        return NewModels({}, {name: w[best] for name, w in tree_stack(self.models).items() if name in self.sent})

    def _function(self, steps: int) -> ClientFn:
        if steps not in self._functions:
            loss, algorithm = self.plan.loss(self._owned), self.plan.algorithm
            own: Any = algorithm

            def weights(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
                return own.newcomer_weights(loss, down, private, batches, steps)

            self._functions[steps] = weights
        return self._functions[steps]

    @cached_property
    def _functions(self) -> dict[int, ClientFn]:
        return {}
