"""Models with dropout, BatchNorm and a frozen layer, and data for them, as components that a run folder can name."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from torch import nn

from fedmtl.data.arrays import from_arrays
from fedmtl.data.base import Federation

FROZEN = 8
"""Outputs of the frozen layer."""


@dataclass(frozen=True)
class StatefulMLP:
    """A frozen layer, a layer with BatchNorm and dropout, and heads with both, too."""

    dropout: float = 0.3
    momentum: float = 0.1
    frozen: bool = True

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        trunk = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(input_shape), FROZEN),
            nn.ReLU(),
            nn.Linear(FROZEN, 6),
            nn.BatchNorm1d(6, momentum=self.momentum),
            nn.ReLU(),
            nn.Dropout(self.dropout),
        )
        trunk[1].requires_grad_(not self.frozen)
        return trunk

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(features), nn.Dropout(self.dropout), nn.Linear(features, outputs))


@dataclass(frozen=True)
class StatefulCNN:
    """A frozen convolution, one with BatchNorm and dropout of whole channels, and dropout of features."""

    dropout: float = 0.3

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        trunk = nn.Sequential(
            nn.Conv2d(input_shape[0], 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout2d(self.dropout),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(self.dropout),
        )
        trunk[0].requires_grad_(False)
        return trunk

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


@dataclass(frozen=True)
class Drawn:
    """Six clients of 3, 4, 7, 8, 11 and 12 training examples, half of them with a second task.

    No batch of 4 has less than 3 examples: of two, BatchNorm makes −1 and 1 whatever they are, and a gradient that is
    rounding alone.
    """

    shape: tuple[int, ...] = (1, 8, 8)

    def load(self, seed: int) -> Federation:
        draw = np.random.default_rng(seed)
        clients: dict[int, Any] = {}
        for k, n in enumerate((4, 5, 9, 10, 14, 15)):
            y = {"a": np.arange(n) % 3} | ({"b": np.arange(n) % 2} if k % 2 else {})
            clients[k] = draw.standard_normal((n, *self.shape)).astype(np.float32), y
        return from_arrays(clients).load(seed)
