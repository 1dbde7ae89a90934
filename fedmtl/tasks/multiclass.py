"""One of several classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.checks import is_whole, numbers, refuse
from fedmtl.tasks.class_weights import ClassWeights, checked_weights, settled, shown, weighted, with_balanced
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.masked import counts, finite, keep, labelled, log_mean, mean_over
from fedmtl.tasks.names import checked_names
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class MultiClass:
    """Classification into K classes that exclude each other.

    With outputs z [B, K] and labels y [B] in {0, …, K−1}, over the n labelled examples:

        loss     = 1/n Σ_b  w_y (log Σ_k exp z_bk − z_b,y_b)   (cross-entropy, nats)       (1)
        accuracy = 1/n Σ_b  [argmax_k z_bk = y_b]              (the first of equal ones)   (2)

    An output row whose softmax is NaN is never right: one with NaN or +inf, or with −inf alone. −inf beside a finite
    number is a probability of 0. The score is the accuracy.

    Raises:
        ValueError: fewer than two classes, more than float32 can name, or weights that are not one for each class.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, names=True, fitted=True)

    num_classes: int = 0
    """K; 0: the number of names."""
    names: Sequence[str] = field(default=(), repr=False)
    """Names of the classes, in their order, for tables and reports; none, or one for each."""
    class_weights: ClassWeights = field(default=(), repr=False)
    """w: a number for each class, "balanced", or nothing for 1 each (``fedmtl.tasks.class_weights``)."""

    label_shape = ()
    metric_name = "accuracy"
    higher_is_better = True

    def __post_init__(self) -> None:
        if self.num_classes == 0 and isinstance(self.names, list | tuple) and self.names:
            object.__setattr__(self, "num_classes", len(self.names))
        if not is_whole(self.num_classes) or not 2 <= self.num_classes <= 2**24:
            raise ValueError(f"MultiClass needs 2 to 2**24 classes, got num_classes={self.num_classes!r}.")
        object.__setattr__(self, "names", checked_names("MultiClass, classes", self.names, self.num_classes))
        weights = checked_weights("MultiClass", self.class_weights, self.num_classes)
        object.__setattr__(self, "class_weights", weights)

    def __repr__(self) -> str:
        return f"MultiClass(num_classes={self.num_classes}{shown(self.class_weights)})"

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "MultiClass":
        return with_balanced(self, labels, self.num_classes)

    @property
    def outputs(self) -> int:
        return self.num_classes

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        y = numbers(self, y)
        missing = np.isnan(y)
        if not (missing | ((y >= 0) & (y < self.num_classes) & (y == np.floor(y)))).all():
            whole = np.isfinite(y) & (y == np.floor(y))
            refuse(self, y, missing | whole, "a class is a whole number from 0; Regression takes any number.")
            refuse(self, y, missing | (y >= 0), "classes count from 0; NaN stands for 'not labelled'.")
            rule = f"num_classes must be at least {np.nanmax(y) + 1:.0f} for these labels."
            refuse(self, y, missing | (y < self.num_classes), rule)
        return y.astype(np.float32, copy=False)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        counted = labelled(y, mask)
        target = keep(y, counted).long()
        # Classes first: a softmax over a short last dimension runs number by number, twelve times as slow.
        log_p = torch.log_softmax(keep(output.T.contiguous(), counted), dim=0)
        return mean_over(weighted(-log_p.gather(0, target[None]), target, settled(self)), counted)  # (1)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """log Σ_m v_m softmax(z_m)."""
        return log_mean(torch.log_softmax(outputs, dim=-1), weights)

    def decode(self, output: Tensor) -> Decoded:
        """argmax_k z_bk and softmax(z_b)."""
        return Decoded(output.argmax(-1), output.softmax(-1))

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples, right ones]."""
        counted = labelled(y, mask)
        known = finite(output.amax(-1))  # of NaN and others, the maximum is NaN
        right = counted & (output.argmax(-1) == keep(y, counted).long()) & known
        return counts(counted, right)

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """Right ones are a whole number from 0 to the examples."""
        examples, right = sums.T
        return (right >= 0) & (right <= examples) & (right == np.floor(right))

    def metric(self, sums: NDArray[Any]) -> float:
        return float(sums[1] / sums[0]) if sums[0] > 0 else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return self.metric(sums)
