"""ClipNorm: bounds the global norm of an update.

    McMahan, Ramage, Talwar, Zhang. ICLR 2018, Algorithm 1 (flat clipping). arXiv:1710.06963

The first part of a chain that adds noise, and a bound on what one client can do to the mean.
"""

from dataclasses import dataclass

import numpy as np

from fedmtl.codecs.transforms.base import GeneratorFor, Rows, TransformTraits, check_number


@dataclass(frozen=True)
class ClipNorm:
    """The update, shortened where its norm over all parameters is more than S.

        x' = x min(1, S / ‖x‖)                                                          (1)

    A shorter one stays as it is, bit for bit. Nothing is undone: what is cut off is lost. The bound is that of what
    enters the codec; a codec that rounds, such as ``Int8``, may exceed it by its own error.

    >>> x = np.array([[3.0, 4.0], [0.3, 0.4]], np.float32)
    >>> ClipNorm(1.0).apply(x, np.random.default_rng).tolist() == np.float32([[0.6, 0.8], [0.3, 0.4]]).tolist()
    True
    """

    norm: float = 1.0
    """S."""

    traits = TransformTraits(delta_only=True, bounds_norm=True)

    def __post_init__(self) -> None:
        check_number("ClipNorm", "norm", self.norm, "positive")

    def apply(self, x: Rows, rng_for: GeneratorFor) -> Rows:
        norms = np.sqrt(np.einsum("kn,kn->k", x, x, dtype=np.float64))
        factor = self.norm / np.maximum(norms, self.norm)
        return x * factor.astype(np.float32)[:, None]  # (1)

    def undo(self, x: Rows) -> Rows:
        return x
