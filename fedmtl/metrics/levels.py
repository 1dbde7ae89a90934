"""Statistics of levels that have an order: confusion counts and the loss.

With the counts O_ij of examples of level i that are predicted j, n of them, and their sums R_i over j and C_j over i:

    quadratic kappa = 1 − Σ (i − j)² O_ij / Σ (i − j)² R_i C_j / n                                                  (1)
    Σ (i − j)² R_i C_j / n = Σ y² + Σ ŷ² − 2 Σ y Σ ŷ / n           over examples, y their level, ŷ the predicted    (2)

(Cohen 1968.) It is NaN where (2) is 0: all levels and all predictions are one. An output that is no number is predicted
as the level farthest from the true one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.base import Confusion, Events
from fedmtl.metrics.checks import row_sums
from fedmtl.metrics.rates import balanced_accuracy, macro_f1, rates
from fedmtl.metrics.tally import Tally


@dataclass(frozen=True)
class Levels:
    """``Ordinal``: loss, mean absolute error, accuracy, balanced accuracy, macro-F1 and quadratic weighted kappa.

    An example's cell is (y, ŷ), and the number is Σ loss.
    """

    levels: int

    numbers = 1
    several = False

    @property
    def cells(self) -> int:
        return self.levels * (self.levels + 1)

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        rows = np.flatnonzero(~np.isnan(y))
        z, truth = output[rows].astype(np.float64), y[rows].astype(np.int64)
        known = np.isfinite(z).all(1)
        predicted = np.where(known, (z > 0).sum(1), self.levels)
        above = truth[:, None] > np.arange(self.levels - 1)
        numbers = np.zeros((len(y), 1))
        with np.errstate(invalid="ignore"):
            losses = (np.logaddexp(0.0, z) - np.where(above, z, 0.0)).mean(1)
        numbers[rows, 0] = np.where(known, losses, np.nan)
        return rows, truth * (self.levels + 1) + predicted, numbers

    def confusion(self, tally: Tally) -> Confusion:
        truth, predicted = np.divmod(tally.cells, self.levels + 1)
        every = np.ones(len(truth), bool)
        return Confusion(self.levels, tally, np.zeros_like(truth), truth, predicted, every)

    def _level(self, confusion: Confusion) -> NDArray[np.int64]:
        """The predicted level of each entry: of no number the farthest from the truth."""
        farthest = np.where(2 * confusion.truth >= self.levels, 0, self.levels - 1)
        return np.where(confusion.predicted < self.levels, confusion.predicted, farthest)

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        clients, n = len(sums), sums[:, 0]
        confusion = self.confusion(tally)
        found = rates(confusion, confusion.owners)

        def total(values: NDArray[Any]) -> NDArray[np.float64]:
            return row_sums(confusion.owners, confusion.counts * values, clients)

        y, level = confusion.truth, self._level(confusion)
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = total(y**2) + total(level**2) - 2 * total(y) * total(level) / n  # (2)
            # Rounding of the last term leaves no zero where all are of one level.
            expected = np.where(expected <= 1e-12 * (total(y**2) + total(level**2)), 0.0, expected)
            return {
                "loss": tally.numbers[:, 0] / n,
                "mae": sums[:, 1] / n,
                "accuracy": total(y == confusion.predicted) / n,
                "balanced_accuracy": balanced_accuracy(found, clients),
                "macro_f1": macro_f1(found, clients),
                "quadratic_kappa": 1 - total((y - level) ** 2) / np.where(expected > 0, expected, np.nan),  # (1)
            }

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        """Examples are those of the primary metric, levels off nearly; a threshold on the wrong side costs log 2."""
        clients, (examples, off) = len(sums), sums.T
        confusion = self.confusion(tally)
        nameless = confusion.predicted == self.levels
        wrong = np.where(nameless, self.levels - 1, np.abs(confusion.truth - confusion.predicted))
        counted = row_sums(confusion.owners, confusion.counts * wrong, clients)
        good = row_sums(confusion.owners, confusion.counts, clients) == examples
        good &= np.abs(counted - off) <= (self.levels - 1) * (1 + examples / 100)
        loss = tally.numbers[:, 0]
        with np.errstate(invalid="ignore"):
            least = 0.999 * math.log(2) * counted / (self.levels - 1) - 1e-3
            fits = np.isfinite(loss) & (loss >= least)
        some = row_sums(confusion.owners, np.where(nameless, confusion.counts, 0), clients) > 0
        return good & np.where(some, ~(loss < 0), fits)
