"""Convolutional trunk for signals."""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from fedmtl.models.cnn import check_convolutions
from fedmtl.models.heads import linear_head
from fedmtl.models.images import halved
from fedmtl.models.sizes import check_fields, check_positive


@dataclass(frozen=True)
class TemporalCNN:
    """For signals [C, T]: blocks of convolution over 5 samples, ReLU and max-pooling by 2, then a hidden layer."""

    channels: tuple[int, ...] = (16, 32)
    hidden: int = 64

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "channels", tuple(self.channels))
        check_positive("TemporalCNN", channels=self.channels, hidden=self.hidden)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        if len(input_shape) != 2:
            way = "MLP, or x[:, None] for one channel" if len(input_shape) == 1 else "MLP, which takes any shape"
            raise ValueError(f"TemporalCNN takes signals of shape (channels, samples), got {input_shape}; try {way}.")
        length = halved("TemporalCNN", input_shape[1], len(self.channels), "signal")
        check_convolutions(self, input_shape[0], self.channels, 5, length, self.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((input_shape[0], *self.channels)):
            layers += [nn.Conv1d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.channels[-1] * length, self.hidden), nn.ReLU())

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        return linear_head(self, features, outputs)
