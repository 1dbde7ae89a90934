"""The protocol of availability."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

DAY = 86_400.0
"""Seconds of a day."""


class Availability(Protocol):
    """Times at which clients can be sampled. A frozen dataclass, final."""

    @property
    def dropout(self) -> float:
        """Probability that a sampled client drops out of its round, at a time that is uniform over its part of it."""
        ...

    def until(self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the time at which each client goes away; −infinity for one that is not available at ``time``, [K].

        Args:
            seed: of the experiment.
            clients: ids, [K].
            time: simulated seconds since the run began, [K].
        """
        ...
