"""CAGrad on one client: near the mean gradient, the direction that does most for the task that gains least.

    Liu, Liu, Jin, Stone, Liu. NeurIPS 2021, Algorithm 1. arXiv:2110.14048

    w = argmin ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖  over the simplex,  g_w = Σ w_t g_t,  g_0 = Σ g_t / T            (1)
    the trunk descends along g_0 + c ‖g_0‖ / ‖g_w‖ g_w, each head along its own gradient                   (2)

(1) is convex; it is solved by exponentiated gradient steps, because a client's round has a static course.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each, steered, task_gradients


@dataclass(frozen=True)
class CAGrad:
    """c = 0 is equal weights. The paper uses c = 0.4."""

    c: float = 0.4
    steps: int = 100
    """Of the solver of (1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.c < 1:
            raise ValueError(f"CAGrad needs 0 <= c < 1, got c={self.c!r}.")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"CAGrad needs a whole number of steps, at least 1, got steps={self.steps!r}.")

    def learnt(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def first(self, tasks: TaskSet) -> None:
        return None

    def remember(self, memory: None, losses: Tensor) -> None:
        return None

    def objective(self, each: Each, params: Params, batch: Batch, memory: None) -> Tensor:
        gradients = task_gradients(each, params, batch)
        return steered(each, params, batch, conflict_averse(gradients @ gradients.mT, self.c, self.steps))


def conflict_averse(products: Tensor, c: float, steps: int) -> Tensor:
    """(1) and (2) from ⟨g_s, g_t⟩ [T, T]: the weight of each g_t in the direction, [T]."""
    count = len(products)
    equal = torch.full_like(products[0], 1 / count)
    scale = products.diagonal().mean()
    unit = products / torch.where(scale > 0, scale, 1.0)
    pull = unit @ equal
    radius = c * (equal @ pull).clamp(min=0).sqrt()
    logits = torch.zeros_like(equal)
    for step in range(steps):
        w = torch.softmax(logits, 0)
        norm = (w @ unit @ w).clamp(min=1e-12).sqrt()
        slope = pull + radius * (unit @ w) / norm
        logits = logits - 4.0 / (1 + step) ** 0.5 * (slope - w @ slope)
    w = torch.softmax(logits, 0)  # (1)
    norm = (w @ unit @ w).clamp(min=1e-12).sqrt()
    return equal + radius / norm * w  # (2)
