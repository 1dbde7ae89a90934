"""One of several classes at each step of a sequence, such as the words of a sentence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.checks import is_whole
from fedmtl.tasks.class_weights import ClassWeights, checked_weights, settled, with_balanced
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.masked import counts, keep, labelled
from fedmtl.tasks.names import checked_names
from fedmtl.tasks.positions import check_void, class_labels, entropy, mixed_logits, predicted
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class SequenceLabels:
    """Classification of each of T steps into K classes: tagging of words, states of a signal.

    With outputs z [B, K, T] and labels y [B, T] in {0, …, K−1}, of which steps may be missing, over the m labelled
    steps:

        loss     = 1/m Σ_bt  w_y (log Σ_k exp z_bkt − z_b,y,t)     (cross-entropy, nats)       (1)
        accuracy = 1/m Σ_bt  [argmax_k z_bkt = y_bt]               (the first of equal ones)   (2)

    Shorter sequences are padded to T steps, whose labels are ``padding`` or NaN. A step whose softmax is NaN is never
    right. The score is the accuracy.

    Raises:
        ValueError: fewer than two classes, no step, a padding label that is a class, or weights that are not one for
            each class.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, names=True, fitted=True)

    num_classes: int
    """K."""
    length: int
    """T."""
    padding: int | None = None
    """The label of steps that do not count, such as -100; NaN always stands for that."""
    class_weights: ClassWeights = ()
    """w: a number for each class, "balanced", or nothing for 1 each (``fedmtl.tasks.class_weights``)."""
    names: Sequence[str] = field(default=(), repr=False)
    """Names of the classes, in their order; none, or one for each."""

    metric_name = "accuracy"
    higher_is_better = True

    def __post_init__(self) -> None:
        if not is_whole(self.num_classes) or not 2 <= self.num_classes <= 2**24:
            raise ValueError(f"SequenceLabels needs 2 to 2**24 classes, got num_classes={self.num_classes!r}.")
        if not is_whole(self.length) or self.length < 1:
            raise ValueError(f"SequenceLabels needs a whole number of steps, at least one, got length={self.length!r}.")
        check_void("SequenceLabels", "padding", self.padding, self.num_classes)
        weights = checked_weights("SequenceLabels", self.class_weights, self.num_classes)
        object.__setattr__(self, "class_weights", weights)
        object.__setattr__(self, "names", checked_names("SequenceLabels, classes", self.names, self.num_classes))

    @property
    def outputs(self) -> tuple[int, int]:
        return (self.num_classes, self.length)

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.length,)

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "SequenceLabels":
        return with_balanced(self, labels, self.num_classes)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        return class_labels(self, y, self.num_classes, "padding", self.padding)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return entropy(output.movedim(1, 0), y, mask, settled(self))  # (1)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """log Σ_m v_m softmax(z_m)."""
        return mixed_logits(outputs, weights)

    def decode(self, output: Tensor) -> Decoded:
        """argmax_k z_bkt and softmax over k."""
        return Decoded(output.argmax(1), output.softmax(1))

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples with a label, labelled steps, right ones]."""
        counted = labelled(y, mask)
        best, known = predicted(output.movedim(1, 0))
        right = counted & known & (best == keep(y, counted).long())
        return counts(counted.any(-1), counted, right)

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """Right steps are a whole number from 0 to the labelled ones, of which an example has 1 to T."""
        examples, steps, right = sums.T
        good = (right >= 0) & (right <= steps) & (right == np.floor(right)) & (steps == np.floor(steps))
        return good & (steps >= examples) & (steps <= self.length * examples)

    def metric(self, sums: NDArray[Any]) -> float:
        return float(sums[2] / sums[1]) if sums[1] > 0 else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return self.metric(sums)
