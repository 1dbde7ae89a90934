"""Statistics of quantiles of a number: labels that lie below them, or between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.base import Confusion, Events
from fedmtl.metrics.tally import Tally


@dataclass(frozen=True)
class QuantileStatistics:
    """``Quantile``: loss and coverage.

    The number is the count of labels t = (y − μ)/σ with z_1 ≤ t ≤ z_Q, of which a share of τ_Q − τ_1 is right; of one
    quantile with t ≤ z_1, of which τ_1 is. Σ ρ is the primary metric's.
    """

    levels: Sequence[float]
    mean: float
    std: float

    cells = 0
    numbers = 1
    several = False

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        t = (y.astype(np.float64) - self.mean) / self.std
        with np.errstate(invalid="ignore"):
            inside = t <= output[:, -1]
            if len(self.levels) > 1:
                inside &= output[:, 0] <= t
        none = np.zeros(0, np.int64)
        return none, none, inside.astype(np.float64)[:, None]

    def confusion(self, tally: Tally) -> Confusion:
        none = tally.cells[:0]
        return Confusion(0, tally, none, none, none, none)

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        n, losses = sums.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"loss": losses / n, "coverage": tally.numbers[:, 0] / n}

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        inside = tally.numbers[:, 0]
        return (inside >= 0) & (inside <= sums[:, 0]) & (inside == np.floor(inside))
