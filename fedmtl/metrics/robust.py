"""Statistics of a number with few labels far off."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.base import Confusion, Events
from fedmtl.metrics.numbers import moments_fit, r_squared
from fedmtl.metrics.tally import Tally


@dataclass(frozen=True)
class HuberStatistics:
    """``Huber``: loss and R².

    With e = z − t, t = (y − μ)/σ and h of the task, the numbers are [Σ h(e), Σ e², Σ t, Σ t²]; Σ|e| is the primary
    metric's. R² is that of ``Regression``.
    """

    mean: float
    std: float
    delta: float

    cells = 0
    numbers = 4
    several = False

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        labelled = ~np.isnan(y)
        t = np.where(labelled, (y.astype(np.float64) - self.mean) / self.std, 0.0)
        e = np.abs(np.where(labelled, output[:, 0].astype(np.float64) - t, 0.0))
        none = np.zeros(0, np.int64)
        with np.errstate(over="ignore", invalid="ignore"):
            small = np.minimum(e, self.delta)
            return none, none, np.stack([small * (e - small / 2), e * e, t, t * t], axis=1)

    def confusion(self, tally: Tally) -> Confusion:
        none = tally.cells[:0]
        return Confusion(0, tally, none, none, none, none)

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        (n, absolute), (huber, squares, t, t2) = sums.T, tally.numbers.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"loss": huber / n, "r2": r_squared(n, squares, t, t2), "mae": self.std * absolute / n}

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        """h(e) ≤ e²/2 and h(e) ≤ δ|e|, beside what holds for all moments."""
        (n, absolute), (huber, squares, t, t2) = sums.T, tally.numbers.T
        slack = 1 + 1e-9
        with np.errstate(over="ignore", invalid="ignore"):
            good = (huber >= 0) & (huber <= squares / 2 * slack) & (huber <= self.delta * absolute * slack)
        return good & moments_fit(n, squares, absolute, t, t2)
