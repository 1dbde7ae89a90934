"""The augmentations of a run, in order, as one part of a training step."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fedmtl.augmentations.base import Augmentation
from fedmtl.core.context import Context
from fedmtl.tasks.dense_classes import DenseClasses
from fedmtl.tasks.dense_regression import DenseRegression
from fedmtl.tasks.sequence_labels import SequenceLabels


class AugmentedInputs:
    """(x, ctx) -> x, changed by each augmentation after the other, each with randomness of its own.

    Args:
        steps: one at least.
        tasks: task name -> task.
        shape: of one example.
        whole: inputs are int64.
        several: examples have several inputs, with names.

    Raises:
        ValueError: inputs, or labels, that an augmentation does not fit.
    """

    def __init__(
        self,
        steps: Sequence[Augmentation],
        tasks: Mapping[str, Any],
        shape: tuple[int, ...],
        whole: bool,
        several: bool = False,
    ) -> None:
        if several:
            raise ValueError(
                f"augment: {steps[0]!r} changes examples of one shape, and these have several inputs with names; set "
                "augment=[]."
            )
        for step in steps:
            step.check(shape, whole)
            placed = [
                n for n, task in tasks.items() if isinstance(task, DenseClasses | DenseRegression | SequenceLabels)
            ]
            if step.traits.moves and placed:
                raise ValueError(
                    f"augment: {step!r} moves the numbers of an example, and the labels of task {placed[0]!r} are of "
                    "places; take one that leaves them in place, such as Jitter."
                )
        self._steps = tuple(steps)
        self.used = False
        """True once a training step has changed its inputs."""

    def __call__(self, x: Tensor, ctx: Context) -> Tensor:
        self.used = True
        own = ctx.fold("augment")
        for place, step in enumerate(self._steps):
            x = step.augment(x, own.fold(place))
        return x
