"""Yogi: Adam whose v falls slowly, in the form of adaptive federated optimization, for servers.

    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. ICLR 2021, Algorithm 2. arXiv:2003.00295

    m <- β₁m + (1 − β₁)g                   first 0            (1)
    v <- v − (1 − β₂)g² sign(v − g²)       first τ²           (2)
    d  = m / (√v + τ)                                         (3)

number by number, without a correction for the first steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.adam import AdaptiveMoments, first_moments
from fedmtl.optimizers.checks import check_decay, check_positive
from fedmtl.optimizers.traits import OptimizerTraits


@dataclass(frozen=True)
class Yogi:
    """v moves by the square of the gradient and not by its own size."""

    traits = OptimizerTraits()

    beta1: float = 0.9
    """β₁."""
    beta2: float = 0.99
    """β₂."""
    tau: float = 0.001
    """τ: gradients below it count as noise."""

    def __post_init__(self) -> None:
        check_decay(self, beta1=self.beta1, beta2=self.beta2)
        check_positive(self, tau=self.tau)

    def init(self, params: Params) -> AdaptiveMoments:
        return first_moments(params, self.tau)

    def direction(
        self, state: AdaptiveMoments, gradient: Params, params: Params, round: Tensor
    ) -> tuple[Params, AdaptiveMoments]:
        m = {name: self.beta1 * state.m[name] + (1 - self.beta1) * g for name, g in gradient.items()}  # (1)
        v = {
            n: v - (1 - self.beta2) * gradient[n] ** 2 * torch.sign(v - gradient[n] ** 2) for n, v in state.v.items()
        }  # (2)
        return {name: m[name] / (torch.sqrt(v[name]) + self.tau) for name in m}, AdaptiveMoments(m, v)  # (3)
