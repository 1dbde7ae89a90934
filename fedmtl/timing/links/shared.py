"""Shared: the server's own bandwidth, which the clients of a round share fairly."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.timing.checks import BYTES, check_above
from fedmtl.timing.links.base import NetworkLink
from fedmtl.timing.links.constant import Constant
from fedmtl.timing.radios.base import Radio


@dataclass(frozen=True)
class Shared:
    """A link of clients whose rates together are at most the server's: max-min fair at each time.

    Its cost grows with the square of a cohort: 1,000 clients take about a second a round.
    """

    link: NetworkLink = field(default=Constant(), metadata={"component": ("link",)})
    """Clients' own links."""
    down_mbps: float = 1000.0
    """Megabits a second that the server sends at most."""
    up_mbps: float = 1000.0
    """Megabits a second that the server receives at most."""

    def __post_init__(self) -> None:
        check_above(self, down_mbps=self.down_mbps, up_mbps=self.up_mbps)
        if isinstance(self.link, str | type) or not {"rates", "capacity"} <= set(dir(self.link)):
            raise ValueError(f"Shared: link is one such as Constant(down_mbps=20), got {shown(self.link)}.")

    @property
    def radio(self) -> Radio:
        return self.link.radio

    def rates(
        self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64], upward: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.link.rates(seed, clients, time, upward)

    def capacity(self, upward: bool) -> float:
        return min(self.link.capacity(upward), BYTES * (self.up_mbps if upward else self.down_mbps))
