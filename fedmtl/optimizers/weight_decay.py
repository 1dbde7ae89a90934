"""WeightDecay: the gradient of an L2 penalty on all parameters, added before the optimiser sees the gradient.

    Krogh, Hertz. A Simple Weight Decay Can Improve Generalization. NeurIPS 1991, equation 2.

    d = direction of the inner optimiser for g + λw                              (1)

It is the penalty λ/2 ‖w‖², which an inner AdamW divides by its √v; AdamW's own ``weight_decay`` is not divided.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.base import Optimizer
from fedmtl.optimizers.checks import check_optimizer, check_strength
from fedmtl.optimizers.sgd import SGD
from fedmtl.optimizers.traits import OptimizerTraits


@dataclass(frozen=True)
class WeightDecay:
    """λ = 0 is the inner optimiser."""

    rate: float = 1e-4
    """λ."""
    optimizer: Optimizer = SGD()
    """The optimizer that takes the penalised gradient."""

    def __post_init__(self) -> None:
        check_strength(self, rate=self.rate)
        check_optimizer(self, self.optimizer)

    @property
    def traits(self) -> OptimizerTraits:
        return self.optimizer.traits

    def init(self, params: Params) -> Any:
        return self.optimizer.init(params)

    def direction(self, state: Any, gradient: Params, params: Params, round: Tensor) -> tuple[Params, Any]:
        penalised = {name: g + self.rate * params[name] for name, g in gradient.items()}
        return self.optimizer.direction(state, penalised, params, round)  # (1)
