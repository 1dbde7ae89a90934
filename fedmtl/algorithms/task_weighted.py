"""TaskWeighted: any algorithm whose clients weigh the losses of their tasks.

    Vandenhende et al., Multi-Task Learning for Dense Prediction Tasks, PAMI 2021, section 3, for a survey.

    the weighting's own paper, see fedmtl/weightings/

    L̄_t       = mean of L_t over the client's data, at the parameters that its round begins with        (1)
    state     <- update_state(state, L̄)                                                                (2)
    objective  = what the weighting makes of L_1 … L_T, in place of their mean                          (3)

Parameters that a weighting trains belong to the heads, and stay where the wrapped algorithm keeps them.

The training loss that a client reports is the mean of L̄_t, and not of the weighted objectives of its steps.

Down / Up: those of the wrapped algorithm.  Private: also what the weighting remembers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from fedmtl.algorithms.base import Algorithm, Prediction, Weights
from fedmtl.algorithms.common.checks import check_inner
from fedmtl.algorithms.common.heads import tasks_of
from fedmtl.algorithms.common.local_training import num_examples, retracted
from fedmtl.algorithms.common.training_loss import keep_loss, losses_kept, total_loss
from fedmtl.algorithms.fedper import FedPer
from fedmtl.algorithms.traits import Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, TaskLosses, Upload
from fedmtl.weightings.base import Weighting
from fedmtl.weightings.checks import check_weighting
from fedmtl.weightings.uncertainty import Uncertainty


class WeightedState(NamedTuple):
    """Private state of a client."""

    inner: Any
    """The wrapped algorithm's."""
    state: Any
    """The weighting's."""


@dataclass(frozen=True)
class TaskWeighted:
    """With Equal() it is the wrapped algorithm."""

    algorithm: Algorithm[Any, Any] = FedPer()
    weighting: Weighting = Uncertainty()

    def __post_init__(self) -> None:
        check_inner(self, self.algorithm, "FedPer()")
        if self.algorithm.traits.centralized or self.algorithm.traits.register_clients:
            raise ValueError(f"TaskWeighted wraps what trains on clients alone, got algorithm={self.algorithm!r}.")
        check_weighting(self, self.weighting)

    @property
    def traits(self) -> Traits:
        inner = self.algorithm.traits
        return replace(inner, technique="several tasks on one client", named_heads=True, independent_heads=False)

    def _with_weights(self, params: Params) -> dict[str, Tensor]:
        return {**params, **self.weighting.init_params(tasks_of(params))}

    def _without_weights(self, params: Params) -> dict[str, Tensor]:
        own = self.weighting.init_params(tasks_of(params))
        return {name: value for name, value in params.items() if name not in own}

    def mixture(self, down: Payload, private: WeightedState) -> Prediction:
        wrapped: Any = self.algorithm
        models, weights = wrapped.mixture(down, private.inner)
        return [self._without_weights(model) for model in models], weights

    def sent_models(self, down: Payload, private: WeightedState) -> list[Params]:
        wrapped: Any = self.algorithm
        return [self._without_weights(model) for model in wrapped.sent_models(down, private.inner)]

    def newcomer_weights(
        self, loss: LossFn, down: Payload, private: WeightedState, batches: Sequence[Batch], steps: int
    ) -> Weights:
        wrapped: Any = self.algorithm
        return wrapped.newcomer_weights(loss, down, private.inner, batches, steps)

    def init_server(self, params: Params, ctx: Context) -> Any:
        weighting: Any = self.weighting
        if weighting.traits.check_tasks:
            weighting.check_tasks(tasks_of(params))
        return self.algorithm.init_server(self._with_weights(params), ctx)

    def init_client(self, params: Params, num_examples: int) -> WeightedState:
        inner = self.algorithm.init_client(self._with_weights(params), num_examples)
        return WeightedState(inner, self.weighting.init_state(tasks_of(params)))

    def broadcast(self, server: Any, client: ClientId, ctx: Context) -> Payload:
        return self.algorithm.broadcast(server, client, ctx)

    def local_update(
        self, loss: LossFn, down: Payload, private: WeightedState, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[WeightedState]:
        if not isinstance(loss, TaskLosses):
            raise ValueError(
                "TaskWeighted needs a loss that gives the tasks' losses one by one, by each(params, batch)."
            )
        each = loss.each
        weighting: Any = self.weighting
        begin = self.algorithm.personal_params(down, private.inner)
        total = total_loss(each, begin, batches).detach()
        means = total / num_examples(batches).clamp(min=1)  # (1)
        state = self.weighting.update_state(private.state, means)  # (2)

        def objective(params: Params, batch: Batch) -> Tensor:
            return self.weighting.combine(each, params, batch, state)  # (3)

        keep_loss(total.mean(), num_examples(batches))
        # The objectives of the steps are weighted, and no loss that is like another method's.
        with losses_kept(), retracted(weighting.retract if weighting.traits.retract else None):
            result = self.algorithm.local_update(objective, down, private.inner, batches, ctx)
        return LocalResult(WeightedState(result.private, state), result.upload, result.metrics)

    def aggregate(self, server: Any, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Any:
        return self.algorithm.aggregate(server, uploads, ctx)

    def personal_params(self, down: Payload, private: WeightedState) -> Params:
        return self._without_weights(self.algorithm.personal_params(down, private.inner))
