"""Yes or no."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fedmtl.tasks.checks import numbers, refuse
from fedmtl.tasks.class_weights import ClassWeights, checked_weights, settled, shown, weighted, with_balanced
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.logistic import logistic
from fedmtl.tasks.masked import counts, finite, keep, labelled, log_mean, mean_over
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class Binary:
    """Classification into two classes by one logit.

    With logits z [B, 1] and labels y [B] in {0, 1}, over the n labelled examples:

        loss     = 1/n Σ_b  w_y (log(1 + exp z_b) − y_b z_b)   (cross-entropy, nats)   (1)
        accuracy = 1/n Σ_b  [[z_b > 0] = y_b]                                          (2)

    A logit that is not finite is never right. The score is the accuracy.

    Raises:
        ValueError: weights that are not one for each class.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, fitted=True)

    class_weights: ClassWeights = field(default=(), repr=False)
    """w of 0 and of 1, "balanced", or nothing for 1 each (``fedmtl.tasks.class_weights``)."""

    outputs = 1
    label_shape = ()
    metric_name = "accuracy"
    higher_is_better = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights("Binary", self.class_weights, 2))

    def __repr__(self) -> str:
        return f"Binary({shown(self.class_weights).removeprefix(', ')})"

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "Binary":
        return with_balanced(self, labels, 2)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        y = numbers(self, y)
        rule = "labels are 0 and 1; code two classes as 0 and 1, more with MultiClass, 'not labelled' as NaN."
        refuse(self, y, np.isnan(y) | (y == 0) | (y == 1), rule)
        return y.astype(np.float32, copy=False)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        counted = labelled(y, mask)
        logit, target = keep(output[:, 0], counted), keep(y, counted)
        entropy = logistic(logit, target.to(logit.dtype))
        return mean_over(weighted(entropy, target, settled(self)), counted)  # (1)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """The logit of Σ_m v_m σ(z_m): log Σ_m v_m σ(z_m) − log Σ_m v_m σ(−z_m)."""
        yes, no = (log_mean(functional.logsigmoid(z), weights) for z in (outputs, -outputs))
        return yes - no

    def decode(self, output: Tensor) -> Decoded:
        """[z_b > 0] and σ(z_b)."""
        logit = output[:, 0]
        return Decoded((logit > 0).long(), logit.sigmoid())

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples, right ones]."""
        counted, logit = labelled(y, mask), output[:, 0]
        right = counted & ((logit > 0) == (keep(y, counted) > 0)) & finite(logit)
        return counts(counted, right)

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """Right ones are a whole number from 0 to the examples."""
        examples, right = sums.T
        return (right >= 0) & (right <= examples) & (right == np.floor(right))

    def metric(self, sums: NDArray[Any]) -> float:
        return float(sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return self.metric(sums)
