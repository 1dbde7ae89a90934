"""ServerGaussianNoise: the server adds noise to the mean of a round's uploads.

    McMahan, Ramage, Talwar, Zhang. ICLR 2018, Algorithm 1. arXiv:1710.06963

Less noise than ``GaussianNoise`` for the same protection of the model, from a server that is trusted with uploads.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.transforms.base import GeneratorFor, Rows, TransformTraits, check_number


@dataclass(frozen=True)
class ServerGaussianNoise:
    """Normal noise on each number of the weighted mean of a round, drawn from (seed, round).

        w <- Σ n_k w_k / Σ n_k + σ z,    z ~ N(0, I)                                    (1)

    A building block of central differential privacy: after ``ClipNorm(S)``, one client moves the mean by at most
    S max n_k / Σ n_k, so σ Σ n_k / (S max n_k) is the noise multiplier. fedmtl has no accountant and states no (ε, δ).

    Clients send what they would send without it. The server adds the noise to sums, Σ n_k σ z to Σ n_k w_k, so it does
    not matter whether nodes have added up their clients' uploads. It needs an algorithm whose server uses the mean
    alone (trait ``mean_aggregated``); others are refused.
    """

    std: float = 1.0
    """σ, of the mean."""

    traits = TransformTraits(unbiased=True, delta_only=True, adds_noise=True, server_part=True)

    def __post_init__(self) -> None:
        check_number("ServerGaussianNoise", "std", self.std, "at least 0")

    def apply(self, x: Rows, rng_for: GeneratorFor) -> Rows:
        return x

    def undo(self, x: Rows) -> Rows:
        return x

    def on_sum(self, total: NDArray[np.float64], weight: float, rng: np.random.Generator) -> NDArray[np.float64]:
        return total + weight * self.std * rng.standard_normal(total.shape)  # (1)
