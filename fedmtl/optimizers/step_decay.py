"""StepDecay: once in a number of rounds the learning rate is multiplied by a factor.

    He, Zhang, Ren, Sun. Deep Residual Learning. CVPR 2016, section 3.4. arXiv:1512.03385

    d = f^⌊t / every⌋ · direction of the inner optimiser                         (1)

The paper does it where the error stalls; here the rounds are given.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.base import Optimizer
from fedmtl.optimizers.checks import check_optimizer, check_positive, check_rounds
from fedmtl.optimizers.sgd import SGD
from fedmtl.optimizers.traits import OptimizerTraits


@dataclass(frozen=True)
class StepDecay:
    """The paper divides by 10; the factor of 1/2 is milder."""

    traits = OptimizerTraits(scheduled=True)

    every: int = 30
    """Rounds of one learning rate."""
    factor: float = 0.5
    """f."""
    optimizer: Optimizer = SGD()
    """Whose direction is scaled."""

    def __post_init__(self) -> None:
        check_rounds(self, every=self.every)
        check_positive(self, factor=self.factor)
        check_optimizer(self, self.optimizer)

    def init(self, params: Params) -> Any:
        return self.optimizer.init(params)

    def direction(self, state: Any, gradient: Params, params: Params, round: Tensor) -> tuple[Params, Any]:
        d, state = self.optimizer.direction(state, gradient, params, round)
        factor = torch.pow(self.factor, torch.floor(round / self.every))
        return {name: factor * value for name, value in d.items()}, state  # (1)
