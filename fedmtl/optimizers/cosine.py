"""Cosine: the learning rate falls over the rounds along half a cosine.

    Loshchilov, Hutter. SGDR. ICLR 2017, equation 5, without restarts. arXiv:1608.03983

    u(t) = min(t / T, 1)                                                         (1)
    d    = (f + (1 − f) (1 + cos πu) / 2) · direction of the inner optimiser     (2)

T is a number of its own: a run that is made longer goes on at the floor.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.base import Optimizer
from fedmtl.optimizers.checks import check_optimizer, check_rounds, check_share
from fedmtl.optimizers.sgd import SGD
from fedmtl.optimizers.traits import OptimizerTraits


@dataclass(frozen=True)
class Cosine:
    """1 in the first round, f from round T on."""

    traits = OptimizerTraits(scheduled=True)

    rounds: int = 100
    """T."""
    floor: float = 0.0
    """f, a part of the learning rate."""
    optimizer: Optimizer = SGD()
    """Whose direction is scaled."""

    def __post_init__(self) -> None:
        check_rounds(self, rounds=self.rounds)
        check_share(self, floor=self.floor)
        check_optimizer(self, self.optimizer)

    def init(self, params: Params) -> Any:
        return self.optimizer.init(params)

    def direction(self, state: Any, gradient: Params, params: Params, round: Tensor) -> tuple[Params, Any]:
        d, state = self.optimizer.direction(state, gradient, params, round)
        passed = (round / self.rounds).clamp(max=1)  # (1)
        factor = self.floor + (1 - self.floor) * (1 + torch.cos(math.pi * passed)) / 2
        return {name: factor * value for name, value in d.items()}, state  # (2)
