"""Bounds below which a number lies with given probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.checks import is_finite
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.masked import counts, keep, labelled, mean_over
from fedmtl.tasks.standardise import check_scale, check_settled, errors, mean_output, number_labels, standardised
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class Quantile:
    """Prediction of Q quantiles of one number.

    With outputs z [B, Q], labels y [B], mean μ, standard deviation σ and levels τ_1 < … < τ_Q, over the n labelled
    examples:

        u_bq    = (y_b − μ)/σ − z_bq
        ρ_τ(u)  = max(τ u, (τ − 1) u)
        loss    = 1/(nQ) Σ_bq ρ_τq(u_bq)      (standardised units; Koenker, Bassett 1978)   (1)
        pinball = σ · loss                    (the label's unit, lower is better)           (2)
        score   = 1 − 2 · loss                (of the median alone 1 − MAE/σ)               (3)

    An output that is NaN or infinite makes pinball and score so too. Quantiles may cross: each is trained by itself.

    Raises:
        ValueError: levels that do not ascend between 0 and 1, a std that is not a positive number, or a mean that is
            not a number.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, fitted=True)

    quantiles: Sequence[float] = (0.1, 0.5, 0.9)
    """τ, ascending."""
    mean: float = 0.0
    """μ, in the label's unit."""
    std: float = 1.0
    """σ, in the label's unit."""
    standardise: bool = False
    """True: μ and σ are those of all clients' training labels, which ``from_arrays`` finds."""

    label_shape = ()
    metric_name = "pinball"
    higher_is_better = False

    def __post_init__(self) -> None:
        given: Any = self.quantiles
        levels: tuple[Any, ...] = tuple(given) if isinstance(given, tuple | list) else (given,)
        good = bool(levels) and all(is_finite(level) and 0 < level < 1 for level in levels)
        if not good or any(a >= b for a, b in zip(levels, levels[1:], strict=False)):
            raise ValueError(
                f"Quantile needs levels that ascend between 0 and 1, such as (0.1, 0.5, 0.9), got quantiles={given!r}."
            )
        object.__setattr__(self, "quantiles", tuple(float(level) for level in levels))
        check_scale("Quantile", self.mean, self.std)

    @property
    def outputs(self) -> int:
        return len(self.quantiles)

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "Quantile":
        return standardised(self, labels)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        return number_labels(self, y)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        check_settled(self, self.standardise)
        counted = labelled(y, mask)
        return mean_over(self._pinball(output, y, counted), counted)  # (1)

    def _pinball(self, output: Tensor, y: Tensor, counted: Tensor) -> Tensor:
        """Mean over levels of ρ_τ(u), [B]; 0 where nothing is labelled."""
        columns = []
        for q, level in enumerate(self.quantiles):
            u = -errors(output[:, q], y, counted, self.mean, self.std)
            columns.append(keep(torch.maximum(level * u, (level - 1) * u), counted))
        return torch.stack(columns).mean(0)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Σ_m v_m z_m."""
        return mean_output(outputs, weights)

    def decode(self, output: Tensor) -> Decoded:
        """μ + σ z_bq, a column for each quantile, in the label's unit."""
        return Decoded(self.mean + self.std * output.double())

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples, Σ of the mean over levels of ρ]."""
        counted = labelled(y, mask)
        return counts(counted, self._pinball(output.double(), y.double(), counted))

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """A sum of losses is at least 0, and 0 over no example."""
        examples, losses = sums.T
        return (losses >= 0) & ((examples > 0) | (losses == 0))

    def metric(self, sums: NDArray[Any]) -> float:
        return float(self.std * sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return float(1.0 - 2.0 * sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (3)
