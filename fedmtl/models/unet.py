"""U-Net: features for each pixel."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import linear_head, places_head
from fedmtl.models.images import halved, image_sides
from fedmtl.models.norms import check_norm, norm_of
from fedmtl.models.sizes import check_fields, check_positive


@dataclass(frozen=True)
class UNet:
    """For images [C, H, W]: features for each pixel, [channels[0], H, W], from all scales.

    Down through levels of two 3×3 convolutions, each with a norm and ReLU, with 2×2 max-pooling between them; then up,
    each time doubled by a transposed convolution and joined with the level's own features. Sides may be odd: pooling
    rounds up, and what is too much on the way up is cut. A head for a map [K, H, W] or [H, W] is a 1×1 convolution; for
    other tasks it is linear in the means over the pixels. Ronneberger et al., MICCAI 2015, arXiv:1505.04597.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    """Channels of each level; the first has the image's own sides."""
    norm: str = "group"
    """``group``: GroupNorm of at most 8 groups; ``batch``: BatchNorm."""

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "channels", tuple(self.channels))
        check_positive("UNet", channels=self.channels)
        check_norm("UNet", self.norm)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        for side, axis in zip(image_sides("UNet", input_shape), "HW", strict=True):
            halved("UNet", side, len(self.channels) - 1, axis)
        down = sum(9 * after * (before + after) for before, after in pairwise((input_shape[0], *self.channels)))
        check_parameters(self, down + sum(31 * one * two for one, two in pairwise(self.channels)))
        return _UNet(self, input_shape[0])

    def head(self, features: Any, outputs: int | tuple[int, ...]) -> nn.Module:
        if isinstance(features, tuple):
            return places_head(self, features, outputs)
        return linear_head(self, features, outputs)


class _UNet(nn.Module):
    def __init__(self, model: UNet, inputs: int) -> None:
        super().__init__()
        pairs = list(pairwise(model.channels))
        self.down = nn.ModuleList(_level(*pair, model.norm) for pair in pairwise((inputs, *model.channels)))
        self.wider = nn.ModuleList(nn.ConvTranspose2d(two, one, 2, stride=2) for one, two in pairs)
        self.up = nn.ModuleList(_level(2 * one, one, model.norm) for one, _ in pairs)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        levels: list[Tensor] = []
        for number, level in enumerate(self.down):
            levels.append(level(self.pool(levels[-1]) if number else x))
        found = levels.pop()
        for wider, level in zip(reversed(self.wider), reversed(self.up), strict=True):
            own = levels.pop()
            found = level(torch.cat([own, wider(found)[..., : own.shape[-2], : own.shape[-1]]], 1))
        return found


def _level(inputs: int, outputs: int, norm: str) -> nn.Module:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), norm_of(norm, outputs), nn.ReLU()]
    return nn.Sequential(*layers)
