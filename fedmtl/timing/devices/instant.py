"""Instant: training takes no time and no energy; the default."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Instant:
    """Devices whose speed is of no interest."""

    def seconds(self, seed: int, clients: NDArray[np.int64], examples: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros(len(clients))

    def watts(self, seed: int, clients: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.zeros(len(clients))
