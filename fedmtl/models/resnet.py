"""Residual networks for images."""

from dataclasses import dataclass

from torch import Tensor, nn

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import MeanOfPlaces, linear_head
from fedmtl.models.images import halved, image_sides
from fedmtl.models.norms import check_norm, norm_of
from fedmtl.models.sizes import check_fields, check_positive

BLOCKS = {8: (1, 1, 1), 18: (2, 2, 2, 2)}
"""Layers with weights, heads included -> blocks of two convolutions in each stage."""


@dataclass(frozen=True)
class ResNet:
    """For images [C, H, W]: stages of residual blocks, of which each stage halves the sides, and the mean over pixels.

    A 3×3 convolution, then blocks y = ReLU(x' + norm(conv(ReLU(norm(conv(x)))))) of 3×3 convolutions, where x' is x, or
    where a stage begins a 1×1 convolution of it with a norm; for images of 8 to some 100 pixels a side, as the first
    convolution halves nothing. He et al., CVPR 2016, arXiv:1512.03385; GroupNorm in federated learning: Hsieh et al.,
    ICML 2020, arXiv:1910.00189.
    """

    depth: int = 8
    """Layers: 8 (three stages of one block) or 18 (four of two)."""
    width: int = 16
    """Channels of the first stage; each stage has twice those of the one before. The published ResNet-18 has 64."""
    norm: str = "group"
    """``group``: GroupNorm of at most 8 groups, equal in training and measuring. ``batch``: BatchNorm, whose running
    statistics are shared as the weights beside them; FedBN keeps them private."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive("ResNet", depth=self.depth, width=self.width)
        if self.depth not in BLOCKS:
            raise ValueError(f"ResNet has a depth of {' or '.join(map(str, BLOCKS))}, got depth={self.depth}.")
        check_norm("ResNet", self.norm)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        blocks = BLOCKS[self.depth]
        for side, axis in zip(image_sides("ResNet", input_shape), "HW", strict=True):
            halved("ResNet", side, len(blocks) - 1, axis, "take a smaller depth, or larger images")
        widths = [self.width << stage for stage in range(len(blocks))]
        later = sum(20 * count * size**2 for count, size in zip(blocks, widths, strict=True))
        check_parameters(self, 9 * input_shape[0] * self.width + later)
        first = nn.Conv2d(input_shape[0], self.width, 3, padding=1, bias=False)
        layers: list[nn.Module] = [first, norm_of(self.norm, self.width), nn.ReLU()]
        before = self.width
        for stage, (count, size) in enumerate(zip(blocks, widths, strict=True)):
            for block in range(count):
                layers.append(_Block(before, size, 2 if stage and not block else 1, self.norm))
                before = size
        trunk = nn.Sequential(*layers, MeanOfPlaces())
        for part in trunk.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        return trunk

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        return linear_head(self, features, outputs)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = norm_of(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = norm_of(norm, outputs)
        same = inputs == outputs and stride == 1
        skip = [] if same else [nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm_of(norm, outputs)]
        self.skip = nn.Sequential(*skip)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.skip(x) + self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x))))))
