"""MGDA: the shortest convex combination of the tasks' gradients, which no task opposes.

    Sener, Koltun. NeurIPS 2018, Algorithm 2. arXiv:1810.04650

    λ = argmin ‖Σ λ_t g_t‖²   over the simplex                                                        (1)

exactly, for any number of tasks: see ``simplex``. Of two tasks it is λ_1 = clip₀₁ ⟨g_2 − g_1, g_2⟩ / ‖g_1 − g_2‖². A
task without a slope gets all the weight: then no direction helps every task. Tasks of equal gradients share theirs.
Heads get the weights too.
"""

from dataclasses import dataclass

from torch import Tensor

from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each, task_gradients
from fedmtl.weightings.common.simplex import shortest
from fedmtl.weightings.traits import WeightingTraits


@dataclass(frozen=True)
class MGDA:
    """Trunk and heads descend on Σ λ_t L_t."""

    traits = WeightingTraits()

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def init_state(self, tasks: TaskSet) -> None:
        return None

    def update_state(self, state: None, losses: Tensor) -> None:
        return None

    def combine(self, each: Each, params: Params, batch: Batch, state: None) -> Tensor:
        losses = each(params, batch)
        return (shortest(task_gradients(each, params, batch)).to(losses) * losses).sum()  # (1)
