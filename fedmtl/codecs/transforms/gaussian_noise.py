"""GaussianNoise: each client adds noise to its update before it leaves the client.

    Dwork, Roth. The Algorithmic Foundations of Differential Privacy, 2014, section 3.5 (Gaussian mechanism).

The server needs no trust, and the mean of K uploads has noise of σ/√K.
"""

from dataclasses import dataclass

import numpy as np

from fedmtl.codecs.transforms.base import GeneratorFor, Rows, TransformTraits, check_number


@dataclass(frozen=True)
class GaussianNoise:
    """Independent normal noise on each number, drawn anew from (seed, round, client).

        x' = x + σ z,    z ~ N(0, I)                                                    (1)

    A building block of local differential privacy: after ``ClipNorm(S)``, σ / S is its noise multiplier. fedmtl has no
    accountant and states no (ε, δ). The seed makes a run repeatable, and those who know it, as the server does, can
    take the noise away: it is for studies of accuracy under noise, and no protection from that server.

    What follows in a chain, such as ``ErrorFeedback(TopK(0.05))``, sees noisy numbers only: it is post-processing.
    """

    std: float = 1.0
    """σ."""

    traits = TransformTraits(unbiased=True, delta_only=True, adds_noise=True)

    def __post_init__(self) -> None:
        check_number("GaussianNoise", "std", self.std, "at least 0")

    def apply(self, x: Rows, rng_for: GeneratorFor) -> Rows:
        noisy = np.empty_like(x, order="C")
        for k, row in enumerate(noisy):
            rng_for(k).standard_normal(dtype=np.float32, out=row)
        noisy *= np.float32(self.std)
        noisy += x  # (1)
        return noisy

    def undo(self, x: Rows) -> Rows:
        return x
