"""Fully connected trunk."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import nn

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import linear_head
from fedmtl.models.sizes import check_fields


@dataclass(frozen=True)
class MLP:
    """Flatten, then Linear-ReLU for each hidden size; heads are linear."""

    hidden: tuple[int, ...] = (64,)
    """Sizes of the hidden layers; the last is the number of features that heads see."""

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"MLP needs at least one hidden layer and positive sizes, got hidden={self.hidden}.")

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        sizes = (prod(input_shape), *self.hidden)
        check_parameters(self, sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes)))
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        return linear_head(self, features, outputs)
