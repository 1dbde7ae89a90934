"""Convolutional trunks for images and for signals."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

from torch import nn

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import linear_head


def _check(name: str, channels: tuple[int, ...], hidden: int) -> None:
    if not channels or min(channels) < 1 or hidden < 1:
        raise ValueError(f"{name} needs positive sizes, got channels={channels}, hidden={hidden}.")


def _pooled(name: str, side: int, blocks: int, axis: str) -> int:
    if side >> blocks < 1:
        raise ValueError(
            f"{name} halves the {axis} {blocks} times, which leaves nothing of {side}; give fewer channels entries."
        )
    return side >> blocks


def _check_parameters(
    model: Any, inputs: int, channels: tuple[int, ...], kernel: int, places: int, hidden: int
) -> None:
    """Convolutions of ``kernel`` numbers a pair of channels, then a layer from all places to ``hidden``."""
    convolutions = sum((kernel * before + 1) * after for before, after in pairwise((inputs, *channels)))
    check_parameters(model, convolutions + (channels[-1] * places + 1) * hidden)


@dataclass(frozen=True)
class CNN:
    """For images [C, H, W]: blocks of 3×3 convolution, ReLU and 2×2 max-pooling, then a hidden layer."""

    channels: tuple[int, ...] = (16, 32)
    hidden: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        _check("CNN", self.channels, self.hidden)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        if len(input_shape) != 3:
            way = "MLP, or x[:, None] for grey images" if len(input_shape) == 2 else "MLP, which takes any shape"
            raise ValueError(f"CNN takes images of shape (channels, height, width), got {input_shape}; try {way}.")
        if input_shape[0] == input_shape[1] > 4 >= input_shape[2]:
            raise ValueError(
                f"CNN takes images of shape (channels, height, width), got {input_shape}, where channels seem to be "
                "last; use x.transpose(0, 3, 1, 2)."
            )
        sides = [
            _pooled("CNN", side, len(self.channels), axis) for side, axis in zip(input_shape[1:], "HW", strict=True)
        ]
        _check_parameters(self, input_shape[0], self.channels, 3 * 3, prod(sides), self.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((input_shape[0], *self.channels)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.channels[-1] * prod(sides), self.hidden), nn.ReLU())

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        return linear_head(self, features, outputs)


@dataclass(frozen=True)
class TemporalCNN:
    """For signals [C, T]: blocks of convolution over 5 samples, ReLU and max-pooling by 2, then a hidden layer."""

    channels: tuple[int, ...] = (16, 32)
    hidden: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        _check("TemporalCNN", self.channels, self.hidden)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        if len(input_shape) != 2:
            way = "MLP, or x[:, None] for one channel" if len(input_shape) == 1 else "MLP, which takes any shape"
            raise ValueError(f"TemporalCNN takes signals of shape (channels, samples), got {input_shape}; try {way}.")
        length = _pooled("TemporalCNN", input_shape[1], len(self.channels), "signal")
        _check_parameters(self, input_shape[0], self.channels, 5, length, self.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((input_shape[0], *self.channels)):
            layers += [nn.Conv1d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.channels[-1] * length, self.hidden), nn.ReLU())

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        return linear_head(self, features, outputs)
