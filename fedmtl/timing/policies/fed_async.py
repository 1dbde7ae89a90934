"""FedAsync: fully asynchronous rounds; each reply is a step of the server's model.

    Xie, Koyejo, Gupta. Asynchronous Federated Optimization. 2019, algorithm 1. arXiv:1903.03934

    w_t+1 = (1 − α_t) w_t + α_t w_k,    α_t = mix · (1 + t − v)^−a              (1)

with w_k of a client that was sent version v, and t the version that the step begins from.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.checks import check_range
from fedmtl.timing.policies.base import Closing, last


@dataclass(frozen=True)
class FedAsync:
    """A cohort's number of clients is in training at all times."""

    mix: float = 0.6
    """Weight of a fresh reply, from 0 to 1."""
    staleness: float = 0.5
    """a in (1); 0 weighs old replies like new ones."""
    needs_all = False
    asynchronous = True

    def __post_init__(self) -> None:
        check_range(self, 0, 1, mix=self.mix)
        check_range(self, 0, 100, staleness=self.staleness)

    def asked(self, size: int) -> int:
        return size

    def close(self, replied: NDArray[np.float64], gone: NDArray[np.float64], size: int) -> Closing:
        """No reply is late: one that comes after the step is for a later one."""
        return Closing(last(replied, gone), np.isfinite(replied))

    def arrivals(self, ends: NDArray[np.float64], begin: float, size: int) -> tuple[int, float]:
        return 1, float(ends[0])

    def weigh(
        self, update: NDArray[np.float32], sent: NDArray[np.float32], now: NDArray[np.float32], staleness: int
    ) -> NDArray[np.float32]:
        weight = np.float32(self.mix * (1.0 + staleness) ** -self.staleness)
        return (now + weight * (update - now)).astype(np.float32, copy=False)  # (1)
