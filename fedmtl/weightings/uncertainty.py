"""Uncertainty weighting: a task counts as much as its noise, which is learnt, allows.

    Kendall, Gal, Cipolla. CVPR 2018, section 3.2. arXiv:1705.07115

    L = Σ (e^{−s_t} L_t + s_t) / T        s_t trained with the model, first 0              (1)

For a fixed L_t the best s_t is log L_t, the weight 1 / L_t. (The paper halves both terms for regression, which is a
factor of L_t, and s for classification, which is a factor of its learning rate.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each
from fedmtl.weightings.traits import WeightingTraits


@dataclass(frozen=True)
class Uncertainty:
    """s_t is ``head.<task>.log_variance``."""

    traits = WeightingTraits()

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {f"head.{task}.log_variance": torch.zeros(()) for task in tasks}

    def init_state(self, tasks: TaskSet) -> None:
        return None

    def update_state(self, state: None, losses: Tensor) -> None:
        return None

    def combine(self, each: Each, params: Params, batch: Batch, state: None) -> Tensor:
        s = torch.stack([params[name] for name in sorted(params) if name.endswith(".log_variance")])
        return (torch.exp(-s) * each(params, batch) + s).mean()  # (1)
