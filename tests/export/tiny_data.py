"""The tiny federation and its model, as components that a run folder can name."""

from dataclasses import dataclass
from math import prod

from torch import nn

from fedmtl.data.base import Federation
from tests.conftest import UNLIKE, tiny


@dataclass(frozen=True)
class Tiny:
    """Four clients with four tasks."""

    binary: bool = False

    def load(self, seed: int) -> Federation:
        return tiny(UNLIKE, seed, self.binary)


@dataclass(frozen=True)
class Normed:
    """A hidden layer of 6 with a norm layer."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), 6), nn.LayerNorm(6), nn.ReLU())

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)
