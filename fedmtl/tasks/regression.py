"""A number."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.checks import is_finite, numbers, refuse
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.masked import counts, keep, labelled, mean_over
from fedmtl.tasks.precision import merged_by_float32
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class Regression:
    """Prediction of one number, learnt in standardised units and measured in the label's own.

    With outputs z [B, 1], labels y [B] and the population's mean μ and standard deviation σ, over the n
    labelled examples:

        e_b   = z_b − (y_b − μ)/σ
        loss  = 1/n Σ_b e_b²                (standardised units)                       (1)
        rmse  = σ √(1/n Σ_b e_b²)           (the label's unit, lower is better)        (2)
        score = 1 − 1/n Σ_b e_b²            (1 − MSE/σ²: what always saying μ leaves   (3)
                                             unexplained, measured with σ, so it can
                                             be compared over clients; may be negative)

    An output that is NaN or infinite makes rmse and score so too: they are no numbers, and a run shows none.

    Raises:
        ValueError: a std that is not a positive number, or a mean that is not a number.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True)

    mean: float = 0.0
    """μ, in the label's unit."""
    std: float = 1.0
    """σ, in the label's unit."""

    outputs = 1
    label_shape = ()
    metric_name = "rmse"
    higher_is_better = False

    def __post_init__(self) -> None:
        if not is_finite(self.mean):
            raise ValueError(f"Regression needs a finite mean, got mean={self.mean!r}.")
        if not (is_finite(self.std) and self.std > 0):
            raise ValueError(
                f"Regression needs a positive standard deviation, got std={self.std!r}; 1.0 keeps the unit."
            )

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        y = numbers(self, y)
        limit = np.finfo(np.float32).max
        refuse(self, y, np.isnan(y) | (np.abs(y) <= limit), "labels are finite float32; NaN stands for 'not labelled'.")
        found = y.astype(np.float32, copy=False)
        merged = merged_by_float32(y, found)
        if merged is not None:
            raise ValueError(
                f"{self!r}: float32 keeps 7 digits, by which {merged[1] - merged[2]} of {merged[1]} distinct labels "
                "merge with others; subtract a constant, the same for all clients."
            )
        return found

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        counted = labelled(y, mask)
        return mean_over(self._error(output, y, counted) ** 2, counted)  # (1)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Σ_m v_m z_m."""
        v = weights[:, None, None]
        return (v * keep(outputs, v > 0)).sum(0)

    def decode(self, output: Tensor) -> Decoded:
        """μ + σ z_b, in the label's unit."""
        return Decoded(self.mean + self.std * output[:, 0].double())

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples, Σ e²]."""
        counted = labelled(y, mask)
        return counts(counted, self._error(output.double(), y.double(), counted) ** 2)

    def _error(self, output: Tensor, y: Tensor, counted: Tensor) -> Tensor:
        """e [B], 0 where nothing is labelled."""
        return keep(output[:, 0], counted) - keep((y - self.mean) / self.std, counted)

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """A sum of squares is at least 0, and 0 over no example."""
        examples, squares = sums.T
        return (squares >= 0) & ((examples > 0) | (squares == 0))

    def metric(self, sums: NDArray[Any]) -> float:
        return self.std * math.sqrt(sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return float(1.0 - sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (3)
