"""The protocol of the statistics from which metrics beside the primary one are computed."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.tally import Tally

MEASURES = (
    "loss",
    "balanced_accuracy",
    "macro_f1",
    "auc",
    "auc_error",
    "average_precision",
    "average_precision_error",
    "r2",
    "mae",
    "accuracy",
    "quadratic_kappa",
    "miou",
    "coverage",
)
"""Names of all metrics; a kind of task has some of them. An ``_error`` bounds its metric's distance from the exact
value."""

Events = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class MetricKind(Protocol):
    """Statistics of one kind of task: cells that are counted, and numbers that are added up."""

    @property
    def cells(self) -> int:
        """Number of cells that are counted."""
        ...

    @property
    def numbers(self) -> int:
        """Columns of ``Tally.numbers``."""
        ...

    @property
    def several(self) -> bool:
        """True where there is a confusion matrix for each of several labels."""
        ...

    def events(self, output: NDArray[Any], y: NDArray[Any]) -> Events:
        """Additions by labelled examples.

        Args:
            output: of the head, [E, outputs] or [E, *outputs].
            y: labels, [E, *label_shape], NaN where not labelled.

        Returns:
            Rows [A] and cells [A] to which 1 is added each, and numbers [E, numbers], 0 where nothing is labelled.
        """
        ...

    def metrics(self, sums: NDArray[np.float64], tally: Tally) -> Mapping[str, NDArray[np.float64]]:
        """Name, of ``MEASURES``, -> the metric of each of K clients, [K]; NaN where there is none.

        Args:
            sums: of the primary metric, [K, s].
            tally: of the same clients.
        """
        ...

    def possible(self, sums: NDArray[np.float64], tally: Tally) -> NDArray[np.bool_]:
        """Mask [K] of the clients whose statistics some outputs can have; ``sums`` are known to be possible."""
        ...

    def confusion(self, tally: Tally) -> "Confusion":
        """The confusion counts among the cells."""
        ...


class Confusion:
    """Confusion counts of K clients: of each entry its client's row, its label (0 but for several), truth, prediction.

    A prediction of ``classes`` is an output that is not a number.
    """

    def __init__(self, classes: int, tally: Tally, label: Any, truth: Any, predicted: Any, some: Any) -> None:
        self.classes = classes
        self.owners = tally.owners[some]
        self.label = label
        self.truth = truth
        self.predicted = predicted
        self.counts = tally.counts[some]
