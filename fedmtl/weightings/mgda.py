"""MGDA: the shortest convex combination of the tasks' gradients, which no task opposes.

    Sener, Koltun. NeurIPS 2018, Algorithm 2. arXiv:1810.04650

    λ = argmin ‖Σ λ_t g_t‖²   over the simplex                                                        (1)

by Frank and Wolfe's steps: with u = Σ λ_t g_t and t the task of the smallest ⟨g_t, u⟩,

    γ = clip₀₁ ⟨u, u − g_t⟩ / ‖u − g_t‖²,     λ <- (1 − γ) λ + γ e_t                                   (2)

Of two tasks the first step is the answer: λ_1 = clip₀₁ ⟨g_2 − g_1, g_2⟩ / ‖g_1 − g_2‖². Heads get the weights too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each, task_gradients


@dataclass(frozen=True)
class MGDA:
    """Trunk and heads descend on Σ λ_t L_t."""

    steps: int = 50
    """Of (2); more for many tasks."""

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"MGDA needs a whole number of steps, at least 1, got steps={self.steps!r}.")

    def learnt(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def first(self, tasks: TaskSet) -> None:
        return None

    def remember(self, memory: None, losses: Tensor) -> None:
        return None

    def objective(self, each: Each, params: Params, batch: Batch, memory: None) -> Tensor:
        gradients = task_gradients(each, params, batch)
        return (shortest(gradients @ gradients.mT, self.steps).detach() * each(params, batch)).sum()


def shortest(products: Tensor, steps: int) -> Tensor:
    """(1) from ⟨g_s, g_t⟩ [T, T]: λ [T]."""
    count = len(products)
    weights = torch.full_like(products[0], 1 / count)
    for _ in range(steps if count > 1 else 0):
        toward = products @ weights  # ⟨g_t, u⟩
        chosen = (toward == toward.min()).to(weights)
        chosen = chosen / chosen.sum()
        length, along, other = weights @ toward, chosen @ toward, chosen @ products @ chosen
        apart = length - 2 * along + other
        gamma = torch.where(apart > 0, (length - along) / torch.where(apart > 0, apart, 1.0), 0.0).clamp(0, 1)
        weights = (1 - gamma) * weights + gamma * chosen  # (2)
    return weights
