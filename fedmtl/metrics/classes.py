"""Statistics of classification into K classes: confusion counts, one-vs-rest histograms, the loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.base import Confusion, Events
from fedmtl.metrics.checks import close_counts, losses_fit, row_sums
from fedmtl.metrics.curves import BINS, areas, bins
from fedmtl.metrics.rates import balanced_accuracy, macro_f1, means, rates
from fedmtl.metrics.tally import Tally

MOST_RANKED = 64
"""Classes up to which histograms are counted: each example fills one cell for each class."""


@dataclass(frozen=True)
class Classes:
    """``MultiClass``: loss, balanced accuracy, macro-F1; AUC and average precision, one class against the rest.

    With outputs z [K] and p = softmax z, the example's cells are (y, argmax z) and, for each class k, the bin of
    log p_k / (1 − p_k) among the examples that are of class k, or those that are not. The numbers are [Σ loss].
    AUC and average precision are means over classes. As in scikit-learn, AUC needs an example of every class, and
    average precision counts a class without one as 0.
    """

    classes: int
    most_ranked: int = MOST_RANKED
    """Classes up to which there are histograms."""

    @property
    def ranked(self) -> bool:
        """True where there are histograms."""
        return self.classes <= self.most_ranked

    @property
    def cells(self) -> int:
        return self._first + (2 * BINS * self.classes if self.ranked else 0)

    @property
    def _first(self) -> int:
        """The first cell of the histograms."""
        return self.classes * (self.classes + 1)

    numbers = 1
    several = False

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        rows = np.flatnonzero(~np.isnan(y))
        z, truth = output[rows].astype(np.float64), y[rows].astype(np.int64)
        known = np.isfinite(z.max(1, initial=-np.inf))  # of NaN and others, the maximum is NaN
        predicted = np.where(known, np.argmax(z, axis=1), self.classes)
        cells = [truth * (self.classes + 1) + predicted]
        log_p = _log_softmax(z)
        numbers = np.zeros((len(y), 1))
        numbers[rows, 0] = -log_p[np.arange(len(rows)), truth]
        if self.ranked:
            positive = truth[:, None] == np.arange(self.classes)
            place = bins(_log_odds(z, log_p), positive)
            cells.append((self._first + (np.arange(self.classes) * 2 + positive) * BINS + place).ravel())
        return np.concatenate([rows, np.repeat(rows, self.classes * self.ranked)]), np.concatenate(cells), numbers

    def confusion(self, tally: Tally) -> Confusion:
        some = tally.cells < self._first
        truth, predicted = np.divmod(tally.cells[some], self.classes + 1)
        return Confusion(self.classes, tally, np.zeros_like(truth), truth, predicted, some)

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        clients = len(sums)
        confusion = self.confusion(tally)
        found = rates(confusion, confusion.owners)
        with np.errstate(invalid="ignore", divide="ignore"):
            loss = tally.numbers[:, 0] / sums[:, 0]
        measured = {
            "loss": loss,
            "balanced_accuracy": balanced_accuracy(found, clients),
            "macro_f1": macro_f1(found, clients),
        }
        if not self.ranked:
            return measured
        some = tally.cells >= self._first
        side, place = np.divmod(tally.cells[some] - self._first, BINS)
        histogram = tally.owners[some] * self.classes + side // 2
        area = areas(histogram, side % 2 == 1, place, tally.counts[some], clients * self.classes)
        of = np.arange(clients * self.classes) // self.classes
        return measured | {name: means(of, getattr(area, name), clients) for name in area._fields if name != "entries"}

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        clients, (examples, right) = len(sums), sums.T
        confusion = self.confusion(tally)
        hits = row_sums(
            confusion.owners, np.where(confusion.truth == confusion.predicted, confusion.counts, 0), clients
        )
        nameless = row_sums(
            confusion.owners, np.where(confusion.predicted == self.classes, confusion.counts, 0), clients
        )
        good = row_sums(confusion.owners, confusion.counts, clients) == examples
        good &= close_counts(hits, right, examples)
        good &= losses_fit(tally.numbers[:, 0], hits, examples - hits, nameless, math.log(self.classes))
        if self.ranked:
            some = tally.cells >= self._first
            side = (tally.cells[some] - self._first) // BINS
            counted = row_sums(
                tally.owners[some] * 2 * self.classes + side, tally.counts[some], 2 * self.classes * clients
            )
            counted = counted.reshape(clients, self.classes, 2)
            support = row_sums(
                confusion.owners * self.classes + confusion.truth, confusion.counts, clients * self.classes
            )
            support = support.reshape(clients, self.classes)
            good &= (counted[:, :, 1] == support).all(1) & (counted.sum(2) == examples[:, None]).all(1)
        return good


def _log_softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN in a row with NaN or +inf, or of −inf alone."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shifted = z - z.max(1, keepdims=True, initial=-np.inf)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _log_odds(z: NDArray[np.float64], log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    """log p_k − log (1 − p_k); of the largest, 1 − p_k is the sum of the others, which loses no digits near 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        odds = log_p - np.log1p(-np.exp(log_p))
        rows, top = np.arange(len(z)), np.argmax(log_p, axis=1)
        others = np.exp(log_p)
        others[rows, top] = 0.0
        odds[rows, top] = log_p[rows, top] - np.log(others.sum(1))
        return odds
