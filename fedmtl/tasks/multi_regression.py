"""Several numbers at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.checks import is_whole
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.masked import counts, labelled, mean_over
from fedmtl.tasks.names import checked_names
from fedmtl.tasks.standardise import check_scale, check_settled, errors, mean_and_std, mean_output, number_labels
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class MultiRegression:
    """Prediction of L numbers, each standardised by its own mean and standard deviation.

    With outputs z [B, L], labels y [B, L], each of which may be missing, and m labelled entries, n_l of number l:

        e_bl  = z_bl − (y_bl − μ_l)/σ_l
        loss  = 1/m Σ_bl e_bl²                          (standardised units)                        (1)
        rmse  = mean over l of σ_l √(1/n_l Σ_b e_bl²)   (each in its own unit, lower is better)     (2)
        score = mean over l of 1 − 1/n_l Σ_b e_bl²      (1 − MSE/σ², may be negative)               (3)

    Means over l are over the numbers that have a label. (2) is scikit-learn's uniform average.

    Raises:
        ValueError: no output, or means and standard deviations that are not one number, or one for each.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, names=True, fitted=True)

    num_outputs: int
    """L."""
    mean: Sequence[float] | float = 0.0
    """μ, in the labels' units: one for all, or one for each."""
    std: Sequence[float] | float = 1.0
    """σ, in the labels' units: one for all, or one for each."""
    standardise: bool = False
    """True: μ and σ are those of all clients' training labels, which ``from_arrays`` finds."""
    names: Sequence[str] = field(default=(), repr=False)
    """Names of the numbers, in their order; none, or one for each."""

    metric_name = "rmse"
    higher_is_better = False

    def __post_init__(self) -> None:
        if not is_whole(self.num_outputs) or self.num_outputs < 1:
            raise ValueError(
                f"MultiRegression needs a whole number of outputs, at least one, got num_outputs={self.num_outputs!r}."
            )
        for name in ("mean", "std"):
            object.__setattr__(self, name, self._each(name))
        for mean, std in zip(self.means, self.stds, strict=True):
            check_scale("MultiRegression", mean, std)
        object.__setattr__(self, "names", checked_names("MultiRegression, outputs", self.names, self.num_outputs))

    def _each(self, name: str) -> tuple[float, ...]:
        value: Any = getattr(self, name)
        found = tuple(value) if isinstance(value, tuple | list | np.ndarray) else (value,) * self.num_outputs
        if len(found) != self.num_outputs:
            raise ValueError(
                f"MultiRegression has num_outputs={self.num_outputs}, got {len(found)} numbers for {name}; give one "
                "for all, or one for each."
            )
        return tuple(one.item() if isinstance(one, np.generic) else one for one in found)

    @property
    def means(self) -> tuple[float, ...]:
        """μ of each number."""
        found: Any = self.mean
        return found

    @property
    def stds(self) -> tuple[float, ...]:
        """σ of each number."""
        found: Any = self.std
        return found

    @property
    def outputs(self) -> int:
        return self.num_outputs

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_outputs,)

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "MultiRegression":
        if not self.standardise:
            return self
        known = [self.labels(y) for y in labels]
        scales = [mean_and_std(self, [y[:, column] for y in known]) for column in range(self.num_outputs)]
        mean, std = zip(*scales, strict=True)
        return replace(self, mean=mean, std=std, standardise=False)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        return number_labels(self, y)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        check_settled(self, self.standardise)
        counted = labelled(y, mask)
        return mean_over(self._errors(output, y, counted) ** 2, counted)  # (1)

    def _errors(self, output: Tensor, y: Tensor, counted: Tensor) -> Tensor:
        """e [B, L]."""
        mean, std = (_like(values, output) for values in (self.means, self.stds))
        return errors(output, y, counted, mean, std)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Σ_m v_m z_m."""
        return mean_output(outputs, weights)

    def decode(self, output: Tensor) -> Decoded:
        """μ_l + σ_l z_bl, in the labels' units."""
        exact = output.double()
        return Decoded(_like(self.means, exact) + _like(self.stds, exact) * exact)

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples with a label, labels of each number, Σ e² of each number]."""
        counted = labelled(y, mask)
        squares = self._errors(output.double(), y.double(), counted) ** 2
        return torch.cat([counts(counted.any(-1)), counted.double().sum(0), squares.sum(0)])

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """Labels of each number are a whole number up to the examples; squares at least 0, and 0 over none."""
        return possible_squares(sums, most=1)

    def metric(self, sums: NDArray[Any]) -> float:
        seen, mse = self._mse(sums)
        return float(np.mean(np.array(self.stds)[seen] * np.sqrt(mse))) if seen.any() else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        seen, mse = self._mse(sums)
        return float(np.mean(1.0 - mse)) if seen.any() else math.nan  # (3)

    def _mse(self, sums: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Mask of the numbers that have a label, and their mean squares."""
        labels, squares = np.split(sums[1:], 2)
        seen = labels > 0
        return seen, squares[seen] / labels[seen]


def _like(values: Sequence[float], tensor: Tensor) -> Tensor:
    """Numbers as a tensor of another's type and device; torch.tensor with a device is refused inside a transform."""
    return torch.from_numpy(np.array(values, np.float64)).to(device=tensor.device, dtype=tensor.dtype)


def possible_squares(sums: NDArray[Any], most: int) -> NDArray[np.bool_]:
    """Mask of rows [examples, n_1 … n_L, Σ_1 … Σ_L]: n_l whole, up to ``most`` an example; Σ_l ≥ 0, and 0 over none."""
    examples, (labels, squares) = sums[:, :1], np.split(sums[:, 1:], 2, axis=1)
    good = (labels >= 0) & (labels <= most * examples) & (labels == np.floor(labels))
    good &= (squares >= 0) & ((labels > 0) | (squares == 0))
    return good.all(1) & (labels.sum(1) >= examples[:, 0])
