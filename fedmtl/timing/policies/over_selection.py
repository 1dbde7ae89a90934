"""OverSelection: more clients are asked than are needed, and the first replies close the round.

Bonawitz et al. Towards Federated Learning at Scale: System Design. SysML 2019, section 3. arXiv:1902.01046
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.timing.checks import check_range, is_number
from fedmtl.timing.policies.base import Closing, last


@dataclass(frozen=True)
class OverSelection:
    """A round asks ⌈factor · n⌉ clients, and closes with the n-th reply, where n is the cohort's size."""

    factor: float = 1.3
    """Clients that are asked for each one that is needed."""
    seconds: float = field(default=math.inf, metadata={"infinite": True})
    """Simulated seconds after which the round closes anyway."""
    needs_all = False
    asynchronous = False

    def __post_init__(self) -> None:
        check_range(self, 1, 100, factor=self.factor)
        if not is_number(self.seconds) or not self.seconds > 0:
            raise ValueError(f"OverSelection: seconds is a number above 0, got {shown(self.seconds)}.")

    def asked(self, size: int) -> int:
        return math.ceil(self.factor * size - 1e-9)

    def close(self, replied: NDArray[np.float64], gone: NDArray[np.float64], size: int) -> Closing:
        order = np.argsort(replied, kind="stable")  # of two that reply at once, the client with the lower id
        in_time = np.zeros(len(replied), bool)
        in_time[order[:size]] = True
        in_time &= np.isfinite(replied) & (replied <= self.seconds)
        full = int(in_time.sum()) == size
        return Closing(float(replied[order[size - 1]]) if full else min(self.seconds, last(replied, gone)), in_time)
