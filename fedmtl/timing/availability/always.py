"""Always: every client is available at all times; the default, without dropout."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.checks import check_range


@dataclass(frozen=True)
class Always:
    """Clients that are always there, and may drop out of a round."""

    dropout: float = 0.0
    """Probability that a sampled client drops out of its round."""

    def __post_init__(self) -> None:
        check_range(self, 0, 1, dropout=self.dropout)

    def until(self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(len(clients), np.inf)
