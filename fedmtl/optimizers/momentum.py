"""Momentum: the direction is a decaying sum of the gradients on the way.

    Sutskever, Martens, Dahl, Hinton. ICML 2013, sections 2 and 7, in the form of torch.optim.SGD.

    m <- βm + g            first 0, in every local update                        (1)
    d  = m                                                                       (2)
    d  = g + βm            with nesterov: the gradient counts as if seen ahead   (3)

Under a constant gradient d grows to g / (1 − β): take a learning rate as much smaller.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.checks import check_decay
from fedmtl.optimizers.traits import OptimizerTraits


@dataclass(frozen=True)
class Momentum:
    """β = 0 is SGD."""

    traits = OptimizerTraits()

    beta: float = 0.9
    """β."""
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_decay(self, beta=self.beta)
        if not isinstance(self.nesterov, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"Momentum is Nesterov's or is not, True or False, got nesterov={self.nesterov!r}.")

    def init(self, params: Params) -> Params:
        return {name: torch.zeros_like(value) for name, value in params.items()}

    def direction(self, state: Params, gradient: Params, params: Params, round: Tensor) -> tuple[Params, Params]:
        m = {name: self.beta * state[name] + g for name, g in gradient.items()}  # (1)
        if self.nesterov:
            return {name: g + self.beta * m[name] for name, g in gradient.items()}, m  # (3)
        return m, m  # (2)
