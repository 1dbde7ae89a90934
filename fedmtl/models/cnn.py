"""Convolutional trunks for images and for signals."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import nn


def _check(name: str, channels: tuple[int, ...], hidden: int) -> None:
    if not channels or min(channels) < 1 or hidden < 1:
        raise ValueError(f"{name} needs positive sizes, got channels={channels}, hidden={hidden}.")


def _pooled(name: str, side: int, blocks: int, axis: str) -> int:
    if side >> blocks < 1:
        raise ValueError(
            f"{name} halves the {axis} {blocks} times, which leaves nothing of {side}; give fewer channels entries."
        )
    return side >> blocks


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
            raise ValueError(f"CNN takes images of shape (channels, height, width), got {input_shape}; try MLP.")
        sides = [
            _pooled("CNN", side, len(self.channels), axis) for side, axis in zip(input_shape[1:], "HW", strict=True)
        ]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((input_shape[0], *self.channels)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.channels[-1] * prod(sides), self.hidden), nn.ReLU())

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


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
            raise ValueError(f"TemporalCNN takes signals of shape (channels, samples), got {input_shape}; try MLP.")
        length = _pooled("TemporalCNN", input_shape[1], len(self.channels), "signal")
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((input_shape[0], *self.channels)):
            layers += [nn.Conv1d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.channels[-1] * length, self.hidden), nn.ReLU())

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)
