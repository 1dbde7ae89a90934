"""SemiSynchronous: steps at fixed times, each with the replies that have come; late ones are for a later step.

    Stripelis, Ambite. Semi-Synchronous Federated Learning for Energy-Efficient Training and Accelerated Convergence in
    Cross-Silo Settings. ACM TIST 2022. arXiv:2102.02849

They hold clients at a common time and let fast ones train longer; here each trains its epochs, and an update that is τ
versions old is discounted as in ``FedBuff``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.checks import check_above, check_range
from fedmtl.timing.policies.base import Closing, last
from fedmtl.timing.policies.fed_buff import discounted


@dataclass(frozen=True)
class SemiSynchronous:
    """A cohort's number of clients is in training at all times."""

    seconds: float = 60.0
    """Simulated seconds from one step to the next; longer where no reply has come."""
    staleness: float = 0.5
    """a of ``FedBuff``; 0 weighs old updates like new ones."""
    needs_all = False
    asynchronous = True

    def __post_init__(self) -> None:
        check_above(self, seconds=self.seconds)
        check_range(self, 0, 100, staleness=self.staleness)

    def asked(self, size: int) -> int:
        return size

    def close(self, replied: NDArray[np.float64], gone: NDArray[np.float64], size: int) -> Closing:
        """No reply is late: one that comes after the step is for a later one."""
        return Closing(last(replied, gone), np.isfinite(replied))

    def arrivals(self, ends: NDArray[np.float64], begin: float, size: int) -> tuple[int, float]:
        step = begin + self.seconds
        count = max(1, int(np.searchsorted(ends, step, "right")))
        return count, max(step, float(ends[count - 1]))

    def weigh(
        self, update: NDArray[np.float32], sent: NDArray[np.float32], now: NDArray[np.float32], staleness: int
    ) -> NDArray[np.float32]:
        return discounted(update, sent, now, staleness, self.staleness)
