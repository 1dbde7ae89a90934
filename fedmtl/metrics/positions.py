"""Statistics of classes at each place of an example: confusion counts of pixels or steps, and the loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.base import Confusion, Events
from fedmtl.metrics.checks import close_counts, losses_fit, row_sums
from fedmtl.metrics.classes import Classes
from fedmtl.metrics.rates import balanced_accuracy, macro_f1, miou, rates
from fedmtl.metrics.tally import Tally


@dataclass(frozen=True)
class Positions:
    """``DenseClasses`` and ``SequenceLabels``: loss, accuracy, balanced accuracy, macro-F1 and mIoU over all places.

    Cells and numbers are those of ``Classes`` without histograms, of each labelled place.
    """

    classes: int
    places: int
    """Places of one label."""
    by_class: bool
    """True where the primary metric's sums are [examples, TP, S and P of each class], not [examples, places, right]."""

    numbers = 1
    several = False

    @property
    def _each(self) -> Classes:
        return Classes(self.classes, most_ranked=0)

    @property
    def cells(self) -> int:
        return self._each.cells

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        z = output.reshape(len(y), self.classes, self.places).swapaxes(1, 2)
        rows, cells, numbers = self._each.events(z.reshape(-1, self.classes), y.reshape(-1))
        return rows // self.places, cells, numbers.reshape(len(y), self.places).sum(1, keepdims=True)

    def confusion(self, tally: Tally) -> Confusion:
        return self._each.confusion(tally)

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        clients = len(sums)
        confusion = self.confusion(tally)
        found = rates(confusion, confusion.owners)
        labelled, right, _ = _counts(confusion, clients)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "loss": tally.numbers[:, 0] / labelled,
                "accuracy": right / labelled,
                "balanced_accuracy": balanced_accuracy(found, clients),
                "macro_f1": macro_f1(found, clients),
                "miou": miou(found, clients),
            }

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        """Labelled places are those of the primary metric, right ones nearly."""
        clients = len(sums)
        labelled, right, nameless = _counts(self.confusion(tally), clients)
        if self.by_class:
            hits, places, _ = sums[:, 1:].reshape(clients, 3, self.classes).sum(2).T
        else:
            places, hits = sums[:, 1], sums[:, 2]
        good = (labelled == places) & close_counts(right, hits, labelled)
        return good & losses_fit(tally.numbers[:, 0], right, labelled - right, nameless, math.log(self.classes))


def _counts(confusion: Confusion, clients: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Places of each client: labelled ones, right ones, and those whose output is no number, [K] each."""

    def total(where: NDArray[np.bool_]) -> NDArray[np.float64]:
        return row_sums(confusion.owners, np.where(where, confusion.counts, 0), clients)

    every = np.ones(len(confusion.counts), bool)
    return (
        total(every),
        total(confusion.truth == confusion.predicted),
        total(confusion.predicted == confusion.classes),
    )
