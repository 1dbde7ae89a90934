"""FedBuff: asynchronous rounds; the server's model makes a step whenever a number of updates have come.

    Nguyen et al. Federated Learning with Buffered Asynchronous Aggregation. AISTATS 2022. arXiv:2106.06639

Clients train side by side, each on the version w_v that it was sent; one that has replied makes room for another. When
``buffer`` updates w_k have come, version t is made of them by the algorithm's own aggregation, with in place of w_k

    w_t + s(t − v) (w_k − w_v),    s(τ) = (1 + τ)^−a                            (1)

which is w_k where v = t. With a buffer as large as the cohort and clients of equal speed it is a synchronous run; with
a buffer of 1 each reply is a step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.timing.checks import check_range
from fedmtl.timing.policies.base import Closing, last


@dataclass(frozen=True)
class FedBuff:
    """A cohort's number of clients is in training at all times."""

    buffer: int = 10
    """Updates of a step of the server; 0: the size of a cohort."""
    staleness: float = 0.5
    """a in (1); 0 weighs old updates like new ones."""
    needs_all = False
    asynchronous = True

    def __post_init__(self) -> None:
        if isinstance(self.buffer, bool) or not isinstance(self.buffer, int) or self.buffer < 0:
            raise ValueError(f"FedBuff: buffer is a whole number of at least 0, got {shown(self.buffer)}.")
        check_range(self, 0, 100, staleness=self.staleness)

    def asked(self, size: int) -> int:
        return size

    def close(self, replied: NDArray[np.float64], gone: NDArray[np.float64], size: int) -> Closing:
        """No reply is late: one that comes after the step is for a later one."""
        return Closing(last(replied, gone), np.isfinite(replied))

    def arrivals(self, ends: NDArray[np.float64], begin: float, size: int) -> tuple[int, float]:
        count = min(self.buffer or size, len(ends))
        return count, float(ends[count - 1])

    def weigh(
        self, update: NDArray[np.float32], sent: NDArray[np.float32], now: NDArray[np.float32], staleness: int
    ) -> NDArray[np.float32]:
        return discounted(update, sent, now, staleness, self.staleness)


def discounted(
    update: NDArray[np.float32], sent: NDArray[np.float32], now: NDArray[np.float32], staleness: int, power: float
) -> NDArray[np.float32]:
    """Return (1): a fresh update is bit-identical."""
    if staleness == 0:
        return update
    return (now + np.float32((1.0 + staleness) ** -power) * (update - sent)).astype(np.float32, copy=False)
