"""Daily: a window each day, such as the night, in which a device is charging and idle.

    Bonawitz et al. Towards Federated Learning at Scale: System Design. SysML 2019, section 9. arXiv:1902.01046

    begin of client k on day d = 24 h · d + start + spread · z_k                (1)

with a standard normal z_k; client k misses day d with probability ``missed``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import uniforms
from fedmtl.timing.availability.base import DAY
from fedmtl.timing.checks import check_range
from fedmtl.timing.draws import normals


@dataclass(frozen=True)
class Daily:
    """One window a day and client; a run begins at midnight."""

    start_hour: float = 22.0
    """Mean hour at which windows begin."""
    hours: float = 8.0
    """Length of a window."""
    spread_hours: float = 2.0
    """Standard deviation of the begin over clients."""
    missed: float = 0.1
    """Probability that a client is away on a day."""
    dropout: float = 0.0
    """Probability that a sampled client drops out of its round."""

    def __post_init__(self) -> None:
        check_range(self, 0, 24, start_hour=self.start_hour, spread_hours=self.spread_hours)
        check_range(self, 0.01, 23.9, hours=self.hours)
        check_range(self, 0, 1, dropout=self.dropout)
        check_range(self, 0, 0.999, missed=self.missed)

    def until(self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64]) -> NDArray[np.float64]:
        begin = 3600 * self.start_hour
        if self.spread_hours:
            begin = begin + 3600 * self.spread_hours * normals(seed, clients, 0, "window of a client")
        day = np.floor((time - begin) / DAY)  # (1)
        end = begin + day * DAY + 3600 * self.hours
        there = time < end
        if self.missed:
            index = day.astype(np.int64) + 1000  # day −1 is that of a window which began before the run
            there &= uniforms(seed, clients, index, "day of a client") >= self.missed
        return np.where(there, end, -np.inf)
