"""The protocol of models: a trunk that all clients share, and one head a task."""

from typing import Any, Protocol

from torch import nn


class Model(Protocol):
    """The recipe of a split model. Implementations are frozen dataclasses of sizes, final.

    Modules are functions of their parameters, of their buffers ``running_…``, which a training step replaces, and of
    the round's randomness: layers of dropout draw from it, BatchNorm keeps running statistics, and both are as in
    ``eval()`` while a model is measured. Parameters with ``requires_grad=False`` stay as they are.
    """

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        """A module from inputs [B, *input_shape] to features [B, features], or [B, …] of any shape."""
        ...

    def head(self, features: Any, outputs: Any) -> nn.Module:
        """A module from features [B, features] to [B, outputs].

        Args:
            features: number of features; of others than [B, features] their shape, a tuple.
            outputs: of the task: a number, or a shape.
        """
        ...
