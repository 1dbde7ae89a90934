"""PCGrad on one client: a task's gradient loses what is against another's.

    Yu, Kumar, Gupta, Levine, Hausman, Finn. NeurIPS 2020, Algorithm 1. arXiv:2001.06782

    u_t <- u_t − ⟨u_t, g_j⟩ / ‖g_j‖² g_j   if ⟨u_t, g_j⟩ < 0, for each j ≠ t, from u_t = g_t          (1)
    the trunk descends along Σ u_t / T, each head along its own gradient                              (2)

The paper meets the others in random order; here it is t + 1, t + 2, … around, so that a round is a pure function. Of
two tasks there is one order.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each, steered, task_gradients
from fedmtl.weightings.common.surgery import pcgrad
from fedmtl.weightings.traits import WeightingTraits


@dataclass(frozen=True)
class PCGrad:
    """Without conflicts, equal weights."""

    traits = WeightingTraits(combine_vectors=True)

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def init_state(self, tasks: TaskSet) -> None:
        return None

    def update_state(self, state: None, losses: Tensor) -> None:
        return None

    def combine(self, each: Each, params: Params, batch: Batch, state: None) -> Tensor:
        gradients = task_gradients(each, params, batch)
        return steered(each, params, batch, without_conflicts(gradients @ gradients.mT))

    def combine_vectors(self, rows: Tensor, weights: NDArray[np.float64], random: np.random.Generator) -> Tensor:
        return pcgrad(rows, weights, random)


def without_conflicts(products: Tensor) -> Tensor:
    """(1) and (2) from ⟨g_s, g_t⟩ [T, T]: the weight of each g_t in Σ u_t / T, [T]."""
    count = len(products)
    total = torch.zeros_like(products[0])
    for t in range(count):
        part = torch.zeros_like(total)
        part[t] = 1.0  # u_t = Σ part_j g_j
        for step in range(1, count):
            j = (t + step) % count
            conflict = (part @ products[:, j]).clamp(max=0)
            norm = products[j, j]
            removed = torch.where(norm > 0, conflict / torch.where(norm > 0, norm, 1.0), 0.0)
            part = part - removed * torch.eye(count, dtype=part.dtype, device=part.device)[j]  # (1)
        total = total + part / count  # (2)
    return total
