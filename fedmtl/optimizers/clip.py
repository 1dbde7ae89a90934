"""Clip: a gradient that is too long is made shorter, before the optimiser sees it.

    Pascanu, Mikolov, Bengio. ICML 2013, Algorithm 1. arXiv:1211.5063

    ‖g‖² = Σ of all parameters' squares                                          (1)
    d    = direction of the inner optimiser for g · c / max(‖g‖, c)              (2)

All parameters of one call of ``sgd``: where an algorithm trains trunk and head one after the other, each for itself.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.base import Optimizer
from fedmtl.optimizers.checks import check_optimizer, check_positive
from fedmtl.optimizers.sgd import SGD
from fedmtl.optimizers.traits import OptimizerTraits


@dataclass(frozen=True)
class Clip:
    """A gradient of length c or less stays bit-identical."""

    norm: float = 1.0
    """c."""
    optimizer: Optimizer = SGD()
    """The optimizer that takes the clipped gradient."""

    def __post_init__(self) -> None:
        check_positive(self, norm=self.norm)
        check_optimizer(self, self.optimizer)

    @property
    def traits(self) -> OptimizerTraits:
        return self.optimizer.traits

    def init(self, params: Params) -> Any:
        return self.optimizer.init(params)

    def direction(self, state: Any, gradient: Params, params: Params, round: Tensor) -> tuple[Params, Any]:
        if not gradient:
            return self.optimizer.direction(state, gradient, params, round)
        length = torch.stack([g.square().sum() for g in gradient.values()]).sum().sqrt()  # (1)
        factor = self.norm / length.clamp(min=self.norm)
        return self.optimizer.direction(state, {n: factor * g for n, g in gradient.items()}, params, round)  # (2)
