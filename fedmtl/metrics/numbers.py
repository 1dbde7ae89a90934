"""Statistics of regression: sums of residuals and of labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.base import Confusion, Events
from fedmtl.metrics.tally import Tally


@dataclass(frozen=True)
class RegressionStatistics:
    """Statistics of ``Regression``: loss, R² and mean absolute error.

    With e = z − t, t = (y − μ)/σ, and n labelled examples, the numbers are [Σ|e|, Σ t, Σ t²]; Σ e² is the primary
    metric's.

        loss = Σ e² / n,   mae = σ Σ|e| / n,   R² = 1 − Σ e² / (Σ t² − (Σ t)² / n)

    As in scikit-learn, R² is 1 or 0 where all labels are equal, as the errors are 0 or not, and NaN for one example.
    Labels whose spread the rounding of these sums hides, below 1e-8 of their distance from μ, count as equal.
    """

    mean: float
    std: float

    cells = 0
    numbers = 3
    several = False

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        labelled = ~np.isnan(y)
        t = np.where(labelled, (y.astype(np.float64) - self.mean) / self.std, 0.0)
        e = np.where(labelled, output[:, 0].astype(np.float64) - t, 0.0)
        none = np.zeros(0, np.int64)
        with np.errstate(over="ignore"):
            return none, none, np.stack([np.abs(e), t, t * t], axis=1)

    def confusion(self, tally: Tally) -> Confusion:
        none = tally.cells[:0]
        return Confusion(0, tally, none, none, none, none)

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        (n, squares), (absolute, t, t2) = sums.T, tally.numbers.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"loss": squares / n, "r2": r_squared(n, squares, t, t2), "mae": self.std * absolute / n}

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        return moments_fit(*sums.T, *tally.numbers.T)


MomentSums = NDArray[np.float64]


def r_squared(n: MomentSums, squares: MomentSums, t: MomentSums, t2: MomentSums) -> MomentSums:
    """R² from n, Σ e², Σ t and Σ t² of any shape; NaN for fewer than two labels."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = t2 - t * t / n
        flat = spread <= np.maximum(1e-16, 4 * n * np.finfo(np.float64).eps) * t2
        r2 = np.where(flat, np.where(squares > 0, 0.0, 1.0), 1 - squares / spread)
        return np.where(np.isfinite(squares) & (n >= 2), r2, np.nan)


def moments_fit(
    n: MomentSums, squares: MomentSums, absolute: MomentSums, t: MomentSums, t2: MomentSums
) -> NDArray[np.bool_]:
    """True where n, Σ e², Σ|e|, Σ t and Σ t² can be of some numbers: |Σ x| ≤ Σ|x|, (Σ|x|)² ≤ n Σ x², to rounding."""
    slack = 1 + 1e-9
    with np.errstate(over="ignore", invalid="ignore"):
        good = np.isfinite(absolute) & np.isfinite(t) & np.isfinite(t2) & (absolute >= 0) & (t2 >= 0)
        good &= (absolute**2 <= n * squares * slack) & (squares <= absolute**2 * slack)
        return good & (t**2 <= n * t2 * slack)
