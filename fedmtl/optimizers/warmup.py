"""Warmup: the learning rate rises evenly over the first rounds.

    Goyal et al. Accurate, Large Minibatch SGD. 2017, section 2.2, gradual warmup. arXiv:1706.02677

    d = min((t + 1) / T, 1) · direction of the inner optimiser                   (1)

Around another schedule both factors count: that one's rounds begin with the run, not where the warmup ends.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.base import Optimizer
from fedmtl.optimizers.checks import check_optimizer, check_rounds
from fedmtl.optimizers.sgd import SGD
from fedmtl.optimizers.traits import OptimizerTraits


@dataclass(frozen=True)
class Warmup:
    """1/T in the first round, 1 from the T-th on."""

    traits = OptimizerTraits(scheduled=True)

    rounds: int = 5
    """T."""
    optimizer: Optimizer = SGD()
    """Whose direction is scaled."""

    def __post_init__(self) -> None:
        check_rounds(self, rounds=self.rounds)
        check_optimizer(self, self.optimizer)

    def init(self, params: Params) -> Any:
        return self.optimizer.init(params)

    def direction(self, state: Any, gradient: Params, params: Params, round: Tensor) -> tuple[Params, Any]:
        d, state = self.optimizer.direction(state, gradient, params, round)
        factor = ((round + 1) / self.rounds).clamp(max=1)
        return {name: factor * value for name, value in d.items()}, state  # (1)
