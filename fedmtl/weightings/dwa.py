"""Dynamic weight average: a task whose loss falls more slowly than others' gets more weight.

    Liu, Johns, Davison. CVPR 2019, equation 7. arXiv:1803.10704

    r_t = L_t(e − 1) / L_t(e − 2)                            1 in the first two rounds                 (1)
    λ_t = softmax(r / temperature)_t                         (the paper's T λ_t, over T)               (2)

L_t(e) is the mean over the client's data when its round e begins: an epoch of the paper is a client's round.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each
from fedmtl.weightings.traits import WeightingTraits


class LossHistory(NamedTuple):
    """0 where there was no such round."""

    now: Tensor
    """L_t(e), [T]: of use in the next round."""
    last: Tensor
    """L_t(e − 1), [T]."""
    before: Tensor
    """L_t(e − 2), [T]."""


@dataclass(frozen=True)
class DWA:
    """The paper uses temperature 2."""

    traits = WeightingTraits()

    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"DWA needs a positive, finite temperature, got temperature={self.temperature!r}.")

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def init_state(self, tasks: TaskSet) -> LossHistory:
        return LossHistory(*torch.zeros(3, len(tasks)))

    def update_state(self, state: LossHistory, losses: Tensor) -> LossHistory:
        return LossHistory(losses.to(state.now), state.now, state.last)

    def combine(self, each: Each, params: Params, batch: Batch, state: LossHistory) -> Tensor:
        known = state.before > 0
        r = torch.where(known, state.last / torch.where(known, state.before, 1.0), 1.0)  # (1)
        return (torch.softmax(r / self.temperature, 0) * each(params, batch)).sum()  # (2)
