"""Unlimited: transfers take no time and no energy; the default."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.radios.base import Radio
from fedmtl.timing.radios.none import NoRadio


@dataclass(frozen=True)
class Unlimited:
    """Infinite bandwidth both ways."""

    radio: Radio = field(default=NoRadio(), init=False)

    def rates(
        self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64], upward: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.full(len(clients), np.inf), np.full(len(clients), np.inf)

    def capacity(self, upward: bool) -> float:
        return np.inf
