"""AllReplies: synchronous rounds, as long as the slowest client takes; the default."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.policies.base import Closing, last


@dataclass(frozen=True)
class AllReplies:
    """The round closes when all clients have replied or dropped out."""

    needs_all = True
    asynchronous = False

    def asked(self, size: int) -> int:
        return size

    def close(self, replied: NDArray[np.float64], gone: NDArray[np.float64], size: int) -> Closing:
        return Closing(last(replied, gone), np.isfinite(replied))
