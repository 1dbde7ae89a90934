"""CAGrad on one client: near the mean gradient, the direction that does most for the task that gains least.

    Liu, Liu, Jin, Stone, Liu. NeurIPS 2021, Algorithm 1. arXiv:2110.14048

    w = argmin ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖  over the simplex,  g_w = Σ w_t g_t,  g_0 = Σ g_t / T            (1)
    the trunk descends along g_0 + c ‖g_0‖ / ‖g_w‖ g_w, each head along its own gradient                   (2)

(1) is solved exactly, for any number of tasks: see ``simplex``. Where ‖g_w‖ = 0 no direction helps every task, and the
trunk descends along g_0.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each, steered, task_gradients
from fedmtl.weightings.common.simplex import conflict_averse
from fedmtl.weightings.common.surgery import cagrad
from fedmtl.weightings.traits import WeightingTraits


@dataclass(frozen=True)
class CAGrad:
    """c = 0 is equal weights. The paper uses c = 0.4."""

    traits = WeightingTraits(combine_vectors=True)

    c: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.c < 1:
            raise ValueError(f"CAGrad needs 0 <= c < 1, got c={self.c!r}.")

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def init_state(self, tasks: TaskSet) -> None:
        return None

    def update_state(self, state: None, losses: Tensor) -> None:
        return None

    def combine(self, each: Each, params: Params, batch: Batch, state: None) -> Tensor:
        gradients = task_gradients(each, params, batch)
        equal = gradients.new_full((len(gradients),), 1 / len(gradients), dtype=torch.float64)
        direction, _ = conflict_averse(gradients, equal, self.c)
        return steered(each, params, batch, direction.to(gradients))

    def combine_vectors(self, rows: Tensor, weights: NDArray[np.float64], random: np.random.Generator) -> Tensor:
        return cagrad(rows, weights, self.c)
