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
    """What algorithms do without a weighting."""

    traits = WeightingTraits()

    def learnt(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def first(self, tasks: TaskSet) -> None:
        return None

    def remember(self, memory: None, losses: Tensor) -> None:
        return None

    def objective(self, each: Each, params: Params, batch: Batch, memory: None) -> Tensor:
        return each(params, batch).mean()  # (1)
