"""AdamW: each number's own step size, and a decay of the weights that this does not touch.

    Loshchilov, Hutter. Decoupled Weight Decay Regularization. ICLR 2019, Algorithm 2. arXiv:1711.05101

    m <- β₁m + (1 − β₁)g            v <- β₂v + (1 − β₂)g²           first 0, in every local update         (1)
    a <- β₁a + (1 − β₁)             b <- β₂b + (1 − β₂)             sums of the weights: 1 − β₁ᵗ, 1 − β₂ᵗ  (2)
    d  = (m / a) / (√(v / b) + ε) + λw                                                                     (3)

A first step is about η in every number, whatever the gradient's size: local updates of few steps want a smaller η than
SGD's.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.checks import check_decay, check_positive, check_strength
from fedmtl.optimizers.traits import OptimizerTraits


class Moments(NamedTuple):
    """The state."""

    m: Params
    v: Params
    a: Tensor
    """Scalar, as ``b`` is."""
    b: Tensor


@dataclass(frozen=True)
class AdamW:
    """λ = 0 is Adam (Kingma, Ba. ICLR 2015)."""

    traits = OptimizerTraits()

    beta1: float = 0.9
    """β₁."""
    beta2: float = 0.999
    """β₂."""
    eps: float = 1e-8
    """ε."""
    weight_decay: float = 0.01
    """λ."""

    def __post_init__(self) -> None:
        check_decay(self, beta1=self.beta1, beta2=self.beta2)
        check_positive(self, eps=self.eps)
        check_strength(self, weight_decay=self.weight_decay)

    def init(self, params: Params) -> Moments:
        zeros = {name: torch.zeros_like(value) for name, value in params.items()}
        nothing = next(iter(params.values()), torch.zeros(())).new_zeros(())
        return Moments(zeros, zeros, nothing, nothing)

    def direction(self, state: Moments, gradient: Params, params: Params, round: Tensor) -> tuple[Params, Moments]:
        b1, b2 = self.beta1, self.beta2
        m = {name: b1 * state.m[name] + (1 - b1) * g for name, g in gradient.items()}  # (1)
        v = {name: b2 * state.v[name] + (1 - b2) * g.square() for name, g in gradient.items()}  # (1)
        # Not 1 − βᵗ: in float32 that has lost half of its digits at first, where β is near 1.
        a, b = b1 * state.a + (1 - b1), b2 * state.b + (1 - b2)  # (2)
        d = {
            name: m[name] / a / ((v[name] / b).sqrt() + self.eps) + self.weight_decay * w for name, w in params.items()
        }  # (3)
        return d, Moments(m, v, a, b)
