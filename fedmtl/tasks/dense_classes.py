"""One of several classes at each place of a map, such as the pixels of an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.checks import is_whole
from fedmtl.tasks.class_weights import ClassWeights, checked_weights, settled, with_balanced
from fedmtl.tasks.decoded import Decoded
from fedmtl.tasks.masked import counts, keep, labelled
from fedmtl.tasks.names import checked_names
from fedmtl.tasks.positions import check_void, class_labels, entropy, mixed_logits, predicted
from fedmtl.tasks.standardise import check_shape
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class DenseClasses:
    """Classification of each place of a map into K classes: semantic segmentation.

    With outputs z [B, K, *shape] and labels y [B, *shape] in {0, …, K−1}, of which places may be missing, over the m
    labelled places; TP_c of them are of class c and predicted so, S_c are of class c, P_c are predicted so:

        loss = 1/m Σ_bp  w_y (log Σ_k exp z_bkp − z_b,y,p)                  (cross-entropy, nats)        (1)
        mIoU = mean of TP_c / (S_c + P_c − TP_c)                            (over the classes that occur (2)
                                                                             or are predicted)

    A place whose softmax is NaN is predicted as no class: it is wrong. The score is mIoU.

    Raises:
        ValueError: fewer than two classes, a shape that is none, a void label that is a class, or weights that are not
            one for each class.
    """

    traits = TaskTraits(mixed=True, decoded=True, possible_sums=True, names=True, fitted=True)

    num_classes: int
    """K."""
    shape: Sequence[int]
    """Shape of one label, such as (height, width)."""
    void: int | None = None
    """The code of places that are not labelled, such as 255; NaN always stands for that."""
    class_weights: ClassWeights = ()
    """w: a number for each class, "balanced", or nothing for 1 each (``fedmtl.tasks.class_weights``)."""
    names: Sequence[str] = field(default=(), repr=False)
    """Names of the classes, in their order; none, or one for each."""

    metric_name = "miou"
    higher_is_better = True

    def __post_init__(self) -> None:
        if not is_whole(self.num_classes) or not 2 <= self.num_classes <= 2**16:
            raise ValueError(f"DenseClasses needs 2 to 2**16 classes, got num_classes={self.num_classes!r}.")
        object.__setattr__(self, "shape", check_shape("DenseClasses", self.shape))
        check_void("DenseClasses", "void", self.void, self.num_classes)
        weights = checked_weights("DenseClasses", self.class_weights, self.num_classes)
        object.__setattr__(self, "class_weights", weights)
        object.__setattr__(self, "names", checked_names("DenseClasses, classes", self.names, self.num_classes))

    @property
    def outputs(self) -> tuple[int, ...]:
        return (self.num_classes, *self.shape)

    @property
    def label_shape(self) -> tuple[int, ...]:
        return tuple(self.shape)

    def fitted(self, labels: Sequence[NDArray[Any]]) -> "DenseClasses":
        return with_balanced(self, labels, self.num_classes)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        return class_labels(self, y, self.num_classes, "void", self.void)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return entropy(output.movedim(1, 0), y, mask, settled(self))  # (1)

    def mixed(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """log Σ_m v_m softmax(z_m)."""
        return mixed_logits(outputs, weights)

    def decode(self, output: Tensor) -> Decoded:
        """argmax_k z_bkp and softmax over k."""
        return Decoded(output.argmax(1), output.softmax(1))

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """[examples with a label, TP of each class, S of each class, P of each class]."""
        counted = labelled(y, mask)
        best, known = predicted(output.movedim(1, 0))
        classes = torch.arange(self.num_classes, device=y.device).reshape(-1, *[1] * y.ndim)
        truth = counted & (keep(y, counted).long() == classes)  # [K, B, *shape]
        called = counted & known & (best == classes)

        def each(places: Tensor) -> Tensor:
            """Places of each class: of an example in float32, which is exact, and faster than bool."""
            return places.flatten(2).float().sum(-1).double().sum(-1)

        examples = counts(counted.flatten(1).any(-1))
        return torch.cat([examples, each(truth & called), each(truth), each(called)])

    def possible_sums(self, sums: NDArray[Any]) -> NDArray[np.bool_]:
        """Whole numbers, TP_c at most S_c and P_c, predictions at most the labelled places, which the shape bounds."""
        examples, (tp, support, called) = sums[:, 0], np.split(sums[:, 1:], 3, axis=1)
        good = ((tp >= 0) & (tp <= support) & (tp <= called)).all(1) & (sums == np.floor(sums)).all(1)
        places = support.sum(1)
        most = math.prod(self.shape) * examples
        return good & (called.sum(1) <= places) & (places >= examples) & (places <= most)

    def metric(self, sums: NDArray[Any]) -> float:
        tp, support, called = np.split(sums[1:], 3)
        union = support + called - tp
        seen = union > 0
        return float(np.mean(tp[seen] / union[seen])) if seen.any() else math.nan  # (2)

    def score(self, sums: NDArray[Any]) -> float:
        return self.metric(sums)
