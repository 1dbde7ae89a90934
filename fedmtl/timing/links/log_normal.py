"""LogNormal: bandwidth that is log-normal over clients, and over time in each client.

    rate_k(t) = median · exp(σ z_k + τ z_kn),    n = ⌊t / period⌋               (1)

with standard normal z_k of a client, and z_kn of its n-th period, both the same in both directions: a client with a
bad connection has it both ways.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.checks import BYTES, check_above, check_range
from fedmtl.timing.draws import normals
from fedmtl.timing.radios.base import Radio
from fedmtl.timing.radios.lte import LTE


@dataclass(frozen=True)
class LogNormal:
    """Unlike clients, and bandwidth that changes at the end of each period."""

    down_mbps: float = 20.0
    """Median over clients and time, megabits a second of downloads."""
    up_mbps: float = 5.0
    """Likewise of uploads."""
    sigma: float = 0.5
    """σ: standard deviation of the logarithm over clients."""
    tau: float = 0.3
    """τ: standard deviation of the logarithm over the periods of a client."""
    period: float = 60.0
    """Seconds from one change to the next."""
    radio: Radio = LTE()
    """Energy of transfers."""

    def __post_init__(self) -> None:
        check_above(self, down_mbps=self.down_mbps, up_mbps=self.up_mbps, period=self.period)
        check_range(self, 0, 5, sigma=self.sigma, tau=self.tau)

    def rates(
        self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64], upward: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        median = BYTES * (self.up_mbps if upward else self.down_mbps)
        number = np.floor(time / self.period)
        exponent = self.sigma * normals(seed, clients, 0, "link of a client") if self.sigma else np.zeros(len(clients))
        if self.tau:
            exponent += self.tau * normals(seed, clients, number.astype(np.int64), "link in a period")
        until = (number + 1) * self.period if self.tau else np.full(len(clients), np.inf)
        return median * np.exp(exponent), until  # (1)

    def capacity(self, upward: bool) -> float:
        return np.inf
