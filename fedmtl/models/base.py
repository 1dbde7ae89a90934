"""The protocol of models: a trunk that all clients share, and one head a task."""

from typing import Protocol

from torch import nn


class Model(Protocol):
    """The recipe of a split model. Implementations are frozen dataclasses of sizes, final.

    Modules must be pure functions of their parameters: no dropout, no BatchNorm (its running statistics
    are state outside the parameters); use GroupNorm or LayerNorm.
    """

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        """A module from inputs [B, *input_shape] to features [B, features]."""
        ...

    def head(self, features: int, outputs: int) -> nn.Module:
        """A module from features [B, features] to [B, outputs]."""
        ...
