"""One of several levels that have an order, such as grades and stages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fedmtl.tasks.checks import is_whole, numbers, refuse
from fedmtl.tasks.class_weights import ClassWeights, checked_weights, settled, weighted, with_balanced
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.logistic import logistic
from fedmtl.tasks.masked import counts, finite, keep, labelled, log_mean, mean_over
from fedmtl.tasks.names import checked_names
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class Ordinal:
    """Classification into K levels 0 < 1 < … < K−1 by cumulative logits, z_k for "above level k".

    With outputs z [B, K−1] and labels y [B] in {0, …, K−1}, over the n labelled examples, with σ the logistic function:

        P(y_b > k) = σ(z_bk),  k = 0, …, K−2
        loss       = 1/n Σ_b  w_y 1/(K−1) Σ_k  log(1 + exp z_bk) − [y_b > k] z_bk     (cross-entropy, nats)  (1)
        ŷ_b        = Σ_k [z_bk > 0]                                                                          (2)
        mae        = 1/n Σ_b |ŷ_b − y_b|                                       (levels, lower is better)     (3)
        score      = 1 − mae / (K−1)                                                                         (4)

    (1) and (2) are those of Niu et al. (2016) and of CORAL (Cao et al. 2020), of which this has no shared weights of
    the thresholds. An output row with a number that is not finite is K−1 levels off.

    Raises:
        ValueError: fewer than two levels, or weights that are not one for each.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, names=True, fitted=True)

    num_classes: int = 0
    """K; 0: the number of names."""
    class_weights: ClassWeights = ()
    """w: a number for each level, "balanced", or nothing for 1 each (``fedmtl.tasks.class_weights``)."""
    names: Sequence[str] = field(default=(), repr=False)
    """Names of the levels, from the lowest; none, or one for each."""

    label_shape = ()
    metric_name = "mae"
    higher_is_better = False

    def __post_init__(self) -> None:
        if self.num_classes == 0 and isinstance(self.names, list | tuple) and self.names:
            object.__setattr__(self, "num_classes", len(self.names))
        if not is_whole(self.num_classes) or not 2 <= self.num_classes <= 2**16:
            raise ValueError(f"Ordinal needs 2 to 2**16 levels, got num_classes={self.num_classes!r}.")
        weights = checked_weights("Ordinal", self.class_weights, self.num_classes)
        object.__setattr__(self, "class_weights", weights)
        object.__setattr__(self, "names", checked_names("Ordinal, levels", self.names, self.num_classes))

    @property
    def outputs(self) -> int:
        return self.num_classes - 1

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "Ordinal":
        return with_balanced(self, labels, self.num_classes)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        y = numbers(self, y)
        allowed = np.isnan(y) | ((y >= 0) & (y < self.num_classes) & (y == np.floor(y)))
        rule = (
            f"a level is a whole number from 0, the lowest, to {self.num_classes - 1}; Regression takes any number, "
            "NaN stands for 'not labelled'."
        )
        refuse(self, y, allowed, rule)
        return y.astype(np.float32, copy=False)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        weights = settled(self)
        counted = labelled(y, mask)
        level = keep(y, counted)
        above = (level[:, None] > self._thresholds(output)).to(output.dtype)
        logits = keep(output, counted[:, None])
        each = logistic(logits, above).mean(-1)
        return mean_over(weighted(each, level, weights), counted)  # (1)

    def _thresholds(self, output: Tensor) -> Tensor:
        """k [K−1]."""
        return torch.arange(self.num_classes - 1, device=output.device)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """The logits of Σ_m v_m σ(z_m): log Σ_m v_m σ(z_m) − log Σ_m v_m σ(−z_m)."""
        above, below = (log_mean(functional.logsigmoid(z), weights) for z in (outputs, -outputs))
        return above - below

    def decode(self, output: Tensor) -> Decoded:
        """ŷ and P(y = k), of P(y > k) = σ(z_k); one that does not fall with k counts as the last that did."""
        above = torch.cat([torch.ones_like(output[:, :1]), output.sigmoid()], 1).cummin(1).values
        below = torch.cat([above[:, 1:], torch.zeros_like(above[:, :1])], 1)
        return Decoded((output > 0).sum(-1), above - below)

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples, Σ |ŷ − y|]."""
        counted = labelled(y, mask)
        level = (output > 0).to(y.dtype).sum(-1)  # (2)
        off = torch.where(finite(output).all(-1), (level - keep(y, counted)).abs(), float(self.num_classes - 1))
        return counts(counted, keep(off, counted))

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """Levels off are a whole number from 0 to K−1 an example."""
        examples, off = sums.T
        return (off >= 0) & (off <= (self.num_classes - 1) * examples) & (off == np.floor(off))

    def metric(self, sums: NDArray[Any]) -> float:
        return float(sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (3)

    def score(self, sums: NDArray[Any]) -> float:
        return 1.0 - self.metric(sums) / (self.num_classes - 1)  # (4)
