"""Several yes-or-no questions at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fedmtl.tasks.checks import is_whole, numbers, refuse
from fedmtl.tasks.class_weights import BALANCED, ClassWeights, checked_weights, settled, shown, weights_like
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.logistic import logistic
from fedmtl.tasks.masked import counts, finite, keep, labelled, log_mean, mean_over
from fedmtl.tasks.names import checked_names
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class MultiLabel:
    """L labels that do not exclude each other, by one logit each.

    With logits z [B, L] and labels y [B, L] in {0, 1}, each of which may be missing, over the m labelled
    *entries*:

        loss = 1/m Σ_bl  w_l^y_bl (log(1 + exp z_bl) − y_bl z_bl)          (cross-entropy, nats)   (1)
        F1   = 2 TP / (2 TP + FP + FN),  predicted positive when z_bl > 0  (micro: over entries)   (2)

    F1 is 1 when nothing is positive and nothing predicted so. A logit that is not finite is never right: it counts as
    FN where y is 1 and as FP where y is 0. The score is F1.

    Raises:
        ValueError: no label, or weights that are not one for each.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, names=True, fitted=True)

    num_labels: int
    """L."""
    names: Sequence[str] = field(default=(), repr=False)
    """Names of the labels, in their order, for tables and reports; none, or one for each."""

    class_weights: ClassWeights = field(default=(), repr=False)
    """w of the 1 of each label, whose 0 has 1; "balanced": its training labels 0 by those that are 1; nothing: 1."""

    metric_name = "f1"
    higher_is_better = True

    def __post_init__(self) -> None:
        if not is_whole(self.num_labels) or self.num_labels < 1:
            raise ValueError(
                f"MultiLabel needs a whole number of labels, at least one, got num_labels={self.num_labels!r}."
            )
        object.__setattr__(self, "names", checked_names("MultiLabel, labels", self.names, self.num_labels))
        object.__setattr__(self, "class_weights", checked_weights("MultiLabel", self.class_weights, self.num_labels))

    def __repr__(self) -> str:
        return f"MultiLabel(num_labels={self.num_labels}{shown(self.class_weights)})"

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "MultiLabel":
        """Weights are 1 where a label is always, or never, 1."""
        if self.class_weights != BALANCED:
            return self
        known = np.concatenate([self.labels(y) for y in labels])
        yes, no = ((known == value).sum(0) for value in (1, 0))
        return replace(self, class_weights=tuple(np.where(yes * no > 0, no / np.maximum(yes, 1), 1.0).tolist()))

    @property
    def outputs(self) -> int:
        return self.num_labels

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_labels,)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        y = numbers(self, y)
        rule = "every entry is 0 or 1, or NaN for 'not labelled'; numbers of other kinds are tasks of their own."
        refuse(self, y, np.isnan(y) | (y == 0) | (y == 1), rule)
        return y.astype(np.float32, copy=False)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        counted = labelled(y, mask)
        logit, target = keep(output, counted), keep(y, counted)
        entropy = logistic(logit, target.to(logit.dtype))
        weights = settled(self)
        if weights:
            entropy = torch.where(target > 0, weights_like(weights, entropy), 1.0) * entropy
        return mean_over(entropy, counted)  # (1)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """The logit of Σ_m v_m σ(z_m): log Σ_m v_m σ(z_m) − log Σ_m v_m σ(−z_m)."""
        yes, no = (log_mean(functional.logsigmoid(z), weights) for z in (outputs, -outputs))
        return yes - no

    def decode(self, output: Tensor) -> Decoded:
        """[z_bl > 0] and σ(z_bl)."""
        return Decoded((output > 0).long(), output.sigmoid())

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples with a label, TP, FP, FN]; the last three count entries."""
        counted = labelled(y, mask)
        known, positive = finite(output), keep(y, counted) > 0
        yes, no = known & (output > 0), known & (output <= 0)
        return counts(counted.any(-1), positive & yes, counted & ~positive & ~no, positive & ~yes)

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """Entries are whole numbers from 0, and together at most all labels of the examples."""
        entries = sums[:, 1:]
        whole = ((entries >= 0) & (entries == np.floor(entries))).all(axis=1)
        return whole & (entries.sum(axis=1) <= self.num_labels * sums[:, 0])

    def metric(self, sums: NDArray[Any]) -> float:
        examples, tp, fp, fn = (float(s) for s in sums)
        if examples == 0:
            return math.nan
        return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn > 0 else 1.0  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return self.metric(sums)
