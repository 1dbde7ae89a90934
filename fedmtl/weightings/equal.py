"""Equal weights: the mean over tasks, which is what algorithms do without a weighting.

    Caruana. Multitask Learning. Machine Learning 28, 1997.

    L = Σ L_t / T                                                                       (1)

Down / Up / Private: nothing of its own.
"""

from dataclasses import dataclass

from torch import Tensor

from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each
from fedmtl.weightings.traits import WeightingTraits


@dataclass(frozen=True)
class Equal:
    """The default of algorithms: a mean without a weighting."""

    traits = WeightingTraits()

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def init_state(self, tasks: TaskSet) -> None:
        return None

    def update_state(self, state: None, losses: Tensor) -> None:
        return None

    def combine(self, each: Each, params: Params, batch: Batch, state: None) -> Tensor:
        return each(params, batch).mean()  # (1)
