"""Predictions in the form of labels, from the outputs of a head."""

from typing import NamedTuple

from torch import Tensor


class Decoded(NamedTuple):
    """Predictions for B examples."""

    values: Tensor
    """[B, *label_shape], as labels are given: numbers of classes, 0 and 1, or numbers in the label's unit."""
    probabilities: Tensor | None = None
    """Probability of each class, [B, classes, …], or that a label is 1, as ``values``; None: there is none."""
