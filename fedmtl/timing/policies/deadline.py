"""Deadline: the round closes after a number of seconds, or earlier, when no reply can come any more."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.checks import check_above
from fedmtl.timing.policies.base import Closing, last


@dataclass(frozen=True)
class Deadline:
    """Replies after the deadline are late: their bytes are wasted, and their updates are not used."""

    seconds: float = 60.0
    """Simulated seconds from the begin of a round."""
    needs_all = False
    asynchronous = False

    def __post_init__(self) -> None:
        check_above(self, seconds=self.seconds)

    def asked(self, size: int) -> int:
        return size

    def close(self, replied: NDArray[np.float64], gone: NDArray[np.float64], size: int) -> Closing:
        return Closing(min(self.seconds, last(replied, gone)), replied <= self.seconds)
