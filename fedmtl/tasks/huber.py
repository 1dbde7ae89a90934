"""A number, with few labels far off."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.checks import is_finite
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.masked import counts, labelled, mean_over
from fedmtl.tasks.standardise import check_scale, check_settled, errors, mean_output, number_labels, standardised
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class Huber:
    """Prediction of one number, by squares of small errors and amounts of large ones.

    With outputs z [B, 1], labels y [B], mean μ, standard deviation σ and the bound δ, over the n labelled examples:

        e_b   = z_b − (y_b − μ)/σ
        h(e)  = e²/2  where |e| ≤ δ,  δ (|e| − δ/2)  elsewhere
        loss  = 1/n Σ_b h(e_b)              (standardised units; Huber 1964)           (1)
        mae   = σ/n Σ_b |e_b|               (the label's unit, lower is better)        (2)
        score = 1 − 1/n Σ_b |e_b|           (1 − MAE/σ; may be negative)               (3)

    An output that is NaN or infinite makes mae and score so too.

    Raises:
        ValueError: a std or delta that is not a positive number, or a mean that is not a number.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, fitted=True)

    mean: float = 0.0
    """μ, in the label's unit."""
    std: float = 1.0
    """σ, in the label's unit."""
    delta: float = 1.0
    """δ, in standard deviations."""
    standardise: bool = False
    """True: μ and σ are those of all clients' training labels, which ``from_arrays`` finds."""

    outputs = 1
    label_shape = ()
    metric_name = "mae"
    higher_is_better = False

    def __post_init__(self) -> None:
        check_scale("Huber", self.mean, self.std)
        if not (is_finite(self.delta) and self.delta > 0):
            raise ValueError(
                f"Huber needs a positive bound of small errors, in standard deviations, got delta={self.delta!r}; 1.0 "
                "is usual."
            )

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "Huber":
        return standardised(self, labels)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        return number_labels(self, y)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        check_settled(self, self.standardise)
        counted = labelled(y, mask)
        e = errors(output[:, 0], y, counted, self.mean, self.std).abs()
        small = e.clamp(max=self.delta)
        return mean_over(small * (e - small / 2), counted)  # (1)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Σ_m v_m z_m."""
        return mean_output(outputs, weights)

    def decode(self, output: Tensor) -> Decoded:
        """μ + σ z_b, in the label's unit."""
        return Decoded(self.mean + self.std * output[:, 0].double())

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples, Σ |e|]."""
        counted = labelled(y, mask)
        return counts(counted, errors(output[:, 0].double(), y.double(), counted, self.mean, self.std).abs())

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """A sum of amounts is at least 0, and 0 over no example."""
        examples, amounts = sums.T
        return (amounts >= 0) & ((examples > 0) | (amounts == 0))

    def metric(self, sums: NDArray[Any]) -> float:
        return float(self.std * sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return float(1.0 - sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (3)
