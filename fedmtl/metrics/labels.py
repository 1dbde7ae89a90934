"""Statistics of yes-or-no questions: confusion counts and a histogram for each label, and the loss."""

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


@dataclass(frozen=True)
class Labels:
    """``Binary`` and ``MultiLabel``: loss, balanced accuracy, macro-F1, AUC and average precision of 1 or L labels.

    An entry's cells are (y, [z > 0]) and the bin of its logit z among the positive or the negative ones. The numbers
    are [Σ loss]. All metrics but the loss are means over the labels of which some entry is labelled. macro-F1 of
    ``Binary`` is the mean over its two classes, that of ``MultiLabel`` the mean over labels of F1 of "yes", which is 0,
    as in scikit-learn, where nothing is positive and nothing predicted so. AUC needs both classes of each such label.
    """

    labels: int
    several: bool
    """True where this is ``MultiLabel``."""

    @property
    def cells(self) -> int:
        return self.labels * (6 + 2 * BINS)

    @property
    def _first(self) -> int:
        """The first cell of the histograms."""
        return 6 * self.labels

    numbers = 1

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        targets = y.reshape(len(y), self.labels)
        rows, label = np.nonzero(~np.isnan(targets))
        z, positive = output[rows, label].astype(np.float64), targets[rows, label] > 0
        known = np.isfinite(z)
        predicted = np.where(known, (z > 0).astype(np.int64), 2)
        place = bins(np.where(known, z, np.nan), positive)
        confusion = label * 6 + positive * 3 + predicted
        histogram = self._first + (label * 2 + positive) * BINS + place
        with np.errstate(invalid="ignore"):
            loss = np.where(known, np.logaddexp(0.0, z) - positive * z, np.nan)
        numbers = row_sums(rows, loss, len(y))[:, None]
        return np.concatenate([rows, rows]), np.concatenate([confusion, histogram]), numbers

    def confusion(self, tally: Tally) -> Confusion:
        some = tally.cells < self._first
        label, rest = np.divmod(tally.cells[some], 6)
        return Confusion(2, tally, label, *np.divmod(rest, 3), some)

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        clients, groups = len(sums), len(sums) * self.labels
        confusion = self.confusion(tally)
        found = rates(confusion, confusion.owners * self.labels + confusion.label)
        entries = row_sums(confusion.owners, confusion.counts, clients)
        if self.several:
            yes = found.cls == 1
            f1 = np.where(np.isnan(balanced_accuracy(found, groups)), np.nan, 0.0)
            f1[found.group[yes]] = (2 * found.right / (found.support + found.predicted))[yes]
        else:
            f1 = macro_f1(found, groups)
        some = tally.cells >= self._first
        side, place = np.divmod(tally.cells[some] - self._first, BINS)
        histogram = tally.owners[some] * self.labels + side // 2
        area = areas(histogram, side % 2 == 1, place, tally.counts[some], groups)
        labelled = np.flatnonzero(area.entries > 0)
        of = labelled // self.labels
        with np.errstate(invalid="ignore", divide="ignore"):
            loss = tally.numbers[:, 0] / entries
        return {
            "loss": loss,
            "balanced_accuracy": means(of, balanced_accuracy(found, groups)[labelled], clients),
            "macro_f1": means(of, f1[labelled], clients),
        } | {name: means(of, getattr(area, name)[labelled], clients) for name in area._fields if name != "entries"}

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        clients, examples = len(sums), sums[:, 0]
        confusion = self.confusion(tally)
        size = clients * self.labels * 2
        support = row_sums(
            (confusion.owners * self.labels + confusion.label) * 2 + confusion.truth, confusion.counts, size
        )
        some = tally.cells >= self._first
        counted = row_sums(
            tally.owners[some] * 2 * self.labels + (tally.cells[some] - self._first) // BINS, tally.counts[some], size
        )
        entries = support.reshape(clients, self.labels, 2).sum(2)
        good = (counted == support).reshape(clients, 2 * self.labels).all(1)
        good &= (entries <= examples[:, None]).all(1) & (entries.sum(1) >= examples)

        def total(where: NDArray[np.bool_]) -> NDArray[np.float64]:
            return row_sums(confusion.owners, np.where(where, confusion.counts, 0), clients)

        hits = total(confusion.truth == confusion.predicted)
        if self.several:
            true_positives = total((confusion.truth == 1) & (confusion.predicted == 1))
            good &= close_counts(true_positives, sums[:, 1], entries.sum(1))
            good &= close_counts(total(confusion.truth == 1), sums[:, 1] + sums[:, 3], entries.sum(1))
        else:
            good &= close_counts(hits, sums[:, 1], examples)
        nameless, all_entries = total(confusion.predicted == 2), entries.sum(1)
        return good & losses_fit(tally.numbers[:, 0], hits, all_entries - hits, nameless, math.log(2))
