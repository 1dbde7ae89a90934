"""Convolutional trunk for images."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

from torch import nn

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import linear_head
from fedmtl.models.images import halved, image_sides
from fedmtl.models.sizes import check_fields, check_positive


def check_convolutions(
    model: Any, inputs: int, channels: tuple[int, ...], kernel: int, places: int, hidden: int
) -> None:
    """Refuse too many parameters of convolutions and of a layer from all places.

    Args:
        model: the recipe.
        inputs: channels of an example.
        channels: of each convolution.
        kernel: numbers of a convolution for a pair of channels.
        places: of the last convolution's outputs.
        hidden: outputs of the layer.

    Raises:
        ValueError: more than a model may have.
    """
    convolutions = sum((kernel * before + 1) * after for before, after in pairwise((inputs, *channels)))
    check_parameters(model, convolutions + (channels[-1] * places + 1) * hidden)


@dataclass(frozen=True)
class CNN:
    """For images [C, H, W]: blocks of 3×3 convolution, ReLU and 2×2 max-pooling, then a hidden layer."""

    channels: tuple[int, ...] = (16, 32)
    hidden: int = 64

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "channels", tuple(self.channels))
        check_positive("CNN", channels=self.channels, hidden=self.hidden)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        axes = zip(image_sides("CNN", input_shape), "HW", strict=True)
        sides = [halved("CNN", side, len(self.channels), axis) for side, axis in axes]
        check_convolutions(self, input_shape[0], self.channels, 3 * 3, prod(sides), self.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((input_shape[0], *self.channels)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.channels[-1] * prod(sides), self.hidden), nn.ReLU())

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        return linear_head(self, features, outputs)
