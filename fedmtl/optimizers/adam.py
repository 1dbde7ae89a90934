"""Adam: each number's own step size, in the form of adaptive federated optimization, for servers.

    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. ICLR 2021, Algorithm 2. arXiv:2003.00295

    m <- β₁m + (1 − β₁)g                   first 0            (1)
    v <- β₂v + (1 − β₂)g²                  first τ²           (2)
    d  = m / (√v + τ)                                         (3)

number by number, without a correction for the first steps, which AdamW has.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.checks import check_decay, check_positive
from fedmtl.optimizers.traits import OptimizerTraits


class AdaptiveMoments(NamedTuple):
    """The state of Adam and Yogi: running means of g and of its squares."""

    m: Params
    v: Params


def first_moments(params: Params, tau: float) -> AdaptiveMoments:
    """Return m = 0 and v = τ²."""
    zeros = {name: torch.zeros_like(value) for name, value in params.items()}
    return AdaptiveMoments(zeros, {name: torch.full_like(value, tau**2) for name, value in params.items()})


@dataclass(frozen=True)
class Adam:
    """Steps in all numbers of about η, whatever the size of their gradient."""

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
        v = {name: self.beta2 * state.v[name] + (1 - self.beta2) * g**2 for name, g in gradient.items()}  # (2)
        return {name: m[name] / (torch.sqrt(v[name]) + self.tau) for name in m}, AdaptiveMoments(m, v)  # (3)
