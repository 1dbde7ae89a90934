"""SGD: the gradient is the direction.

    Robbins, Monro. A Stochastic Approximation Method. Annals of Mathematical Statistics 22, 1951.

    d = g                                                                        (1)

It has no state.
"""

from dataclasses import dataclass

from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.traits import OptimizerTraits


@dataclass(frozen=True)
class SGD:
    """Plain gradient descent: w <- w − ηg."""

    traits = OptimizerTraits()

    def init(self, params: Params) -> tuple[()]:
        return ()

    def direction(self, state: tuple[()], gradient: Params, params: Params, round: Tensor) -> tuple[Params, tuple[()]]:
        return gradient, state  # (1)
