"""Synchronous rounds: a cohort is drawn, and the round closes when all of it have replied or the time is over."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.protocol.exchange import Exchange
from fedmtl.server.policy import Arrivals
from fedmtl.server.sampling import sample


@dataclass(frozen=True)
class Synchronous:
    """Each round draws a cohort of one size from the seed, and no reply is late.

    >>> Synchronous(size=2, seed=0).ask(Exchange(1, 0), np.arange(9)).size
    2

    Args:
        size: clients of a cohort.
        seed: of the experiment.
        seconds: most seconds of a round; None for no limit.
    """

    size: int
    seed: int
    seconds: float | None = None

    @property
    def needs_all(self) -> bool:
        return True

    def ask(self, exchange: Exchange, present: NDArray[np.int64]) -> NDArray[np.int64]:
        return sample(self.seed, exchange.number, present, min(self.size, len(present)))

    def wait_seconds(self, exchange: Exchange) -> float | None:
        return self.seconds

    def close(self, exchange: Exchange, arrivals: Arrivals) -> NDArray[np.bool_]:
        return np.ones(len(arrivals.clients), bool)
