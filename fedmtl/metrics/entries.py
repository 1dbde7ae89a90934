"""Statistics of several numbers, and of numbers at each place of a map: sums of residuals and of labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.base import Confusion, Events
from fedmtl.metrics.numbers import moments_fit, r_squared
from fedmtl.metrics.tally import Tally


@dataclass(frozen=True)
class EntryStatistics:
    """``MultiRegression`` and ``DenseRegression``: loss, R² and mean absolute error of L numbers.

    With e = z − t, t = (y − μ_l)/σ_l, the numbers are [Σ|e|, Σ t, Σ t²] of each of the L; counts and Σ e² are the
    primary metric's. loss is Σ e² over all entries by their number. R² and mae are means over the numbers that have a
    label, for R² two: scikit-learn's uniform average, mae in each number's own unit. A map is one number, L = 1, with
    an entry for each place.
    """

    means: Sequence[float]
    stds: Sequence[float]
    places: int
    """Entries of each number in one label."""

    cells = 0
    several = False

    @property
    def numbers(self) -> int:
        return 3 * len(self.means)

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        labels, z = (values.reshape(len(y), self.places, len(self.means)).astype(np.float64) for values in (y, output))
        labelled = ~np.isnan(labels)
        t = np.where(labelled, (labels - np.array(self.means)) / np.array(self.stds), 0.0)
        e = np.where(labelled, z - t, 0.0)
        none = np.zeros(0, np.int64)
        with np.errstate(over="ignore", invalid="ignore"):
            return none, none, np.concatenate([np.abs(e).sum(1), t.sum(1), (t * t).sum(1)], axis=1)

    def confusion(self, tally: Tally) -> Confusion:
        none = tally.cells[:0]
        return Confusion(0, tally, none, none, none, none)

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        (n, squares), (absolute, t, t2) = np.split(sums[:, 1:], 2, axis=1), np.split(tally.numbers, 3, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "loss": squares.sum(1) / n.sum(1),
                "r2": _mean(r_squared(n, squares, t, t2), n >= 2),
                "mae": _mean(np.array(self.stds) * absolute / n, n >= 1),
            }

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        (n, squares), moments = np.split(sums[:, 1:], 2, axis=1), np.split(tally.numbers, 3, axis=1)
        return np.all(moments_fit(n, squares, *moments), axis=1)


def _mean(values: NDArray[np.float64], some: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the columns that count, [K]; NaN without one."""
    count = some.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(some, values, 0.0).sum(1) / np.where(count > 0, count, np.nan)
