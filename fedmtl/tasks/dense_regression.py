"""A number at each place of a map, such as the depth of each pixel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.masked import counts, labelled, mean_over
from fedmtl.tasks.multi_regression import possible_squares
from fedmtl.tasks.standardise import (
    check_scale,
    check_settled,
    check_shape,
    errors,
    mean_output,
    number_labels,
    standardised,
)
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class DenseRegression:
    """Prediction of a number at each place of a map, all standardised alike.

    With outputs z and labels y [B, *shape], of which entries may be missing, over the m labelled entries:

        e_bp  = z_bp − (y_bp − μ)/σ
        loss  = 1/m Σ_bp e_bp²              (standardised units)                       (1)
        rmse  = σ √(1/m Σ_bp e_bp²)         (the labels' unit, lower is better)        (2)
        score = 1 − 1/m Σ_bp e_bp²          (1 − MSE/σ²; may be negative)              (3)

    An output that is NaN or infinite makes rmse and score so too.

    Raises:
        ValueError: a shape that is none, a std that is not a positive number, or a mean that is not a number.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, fitted=True)

    shape: Sequence[int]
    """Shape of one label and of the head's output, such as (height, width) or (channels, height, width)."""
    mean: float = 0.0
    """μ, in the labels' unit."""
    std: float = 1.0
    """σ, in the labels' unit."""
    standardise: bool = False
    """True: μ and σ are those of all clients' training labels, which ``from_arrays`` finds."""

    metric_name = "rmse"
    higher_is_better = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", check_shape("DenseRegression", self.shape))
        check_scale("DenseRegression", self.mean, self.std)

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(self.shape)

    @property
    def label_shape(self) -> tuple[int, ...]:
        return tuple(self.shape)

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "DenseRegression":
        return standardised(self, labels)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        return number_labels(self, y, pooled=True)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        check_settled(self, self.standardise)
        counted = labelled(y, mask)
        return mean_over(errors(output, y, counted, self.mean, self.std) ** 2, counted)  # (1)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Σ_m v_m z_m."""
        return mean_output(outputs, weights)

    def decode(self, output: Tensor) -> Decoded:
        """μ + σ z_bp, in the label's unit."""
        return Decoded(self.mean + self.std * output.double())

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples with a label, labelled entries, Σ e²]."""
        counted = labelled(y, mask)
        squares = errors(output.double(), y.double(), counted, self.mean, self.std) ** 2
        return counts(counted.flatten(1).any(-1), counted, squares)

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """Entries are a whole number up to all of the examples'; squares at least 0, and 0 over none."""
        return possible_squares(sums, most=math.prod(self.shape))

    def metric(self, sums: NDArray[Any]) -> float:
        return self.std * math.sqrt(sums[2] / sums[1]) if sums[1] > 0 else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return float(1.0 - sums[2] / sums[1]) if sums[1] > 0 else math.nan  # (3)
