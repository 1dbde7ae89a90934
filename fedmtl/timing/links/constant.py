"""Constant: one bandwidth for all clients at all times."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.checks import BYTES, check_above
from fedmtl.timing.radios.base import Radio
from fedmtl.timing.radios.lte import LTE


@dataclass(frozen=True)
class Constant:
    """A packet of b bytes takes 8b / (1,000,000 · Mbps) seconds."""

    down_mbps: float = 20.0
    """Megabits a second of downloads."""
    up_mbps: float = 5.0
    """Megabits a second of uploads."""
    radio: Radio = LTE()
    """Energy of transfers."""

    def __post_init__(self) -> None:
        check_above(self, down_mbps=self.down_mbps, up_mbps=self.up_mbps)

    def rates(
        self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64], upward: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mbps = self.up_mbps if upward else self.down_mbps
        return np.full(len(clients), BYTES * mbps), np.full(len(clients), np.inf)

    def capacity(self, upward: bool) -> float:
        return np.inf
