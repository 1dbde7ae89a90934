"""Linear heads for outputs of any shape, of flat features or of features at places."""

from math import prod
from typing import Any

from torch import Tensor, nn

from fedmtl.core.bounds import check_parameters
from fedmtl.tasks.base import output_shape


def linear_head(model: Any, features: int, outputs: int | tuple[int, ...], bias: bool = True) -> nn.Module:
    """Make a linear layer from features [B, features] to [B, outputs], or to [B, *outputs] of a shape.

    Raises:
        ValueError: more parameters than a model may have.
    """
    size = prod(output_shape(outputs))
    check_parameters(model, (features + 1) * size)
    layer = nn.Linear(features, size, bias=bias)
    if isinstance(outputs, int):
        return layer
    return nn.Sequential(layer, nn.Unflatten(1, outputs) if outputs else nn.Flatten(0))


def places_head(
    model: Any, features: tuple[int, ...], outputs: int | tuple[int, ...], padded: bool = False
) -> nn.Module:
    """Make a linear layer from features at places, such as pixels or tokens.

    Outputs of a shape [*K, *places] are each of its own place, by a convolution over one place; all others are a linear
    function of the mean over the places.

    Args:
        model: the recipe.
        features: their shape, [C, *places].
        outputs: of the task.
        padded: features of 0 alone are padding, which the mean leaves out.

    Raises:
        ValueError: more parameters than a model may have, or places of more than two dimensions.
    """
    channels, places = features[0], features[1:]
    inner = () if isinstance(outputs, int) else outputs[: max(0, len(outputs) - len(places))]
    if isinstance(outputs, int) or (*inner, *places) != outputs:
        return nn.Sequential(MeanOfPlaces(padded), linear_head(model, channels, outputs))
    if len(places) not in (1, 2):
        raise ValueError(f"{model!r}: a head for each place takes features [C, T] or [C, H, W], got {features}.")
    check_parameters(model, (channels + 1) * prod(inner))
    layer = (nn.Conv1d, nn.Conv2d)[len(places) - 1](channels, prod(inner), 1)
    return layer if len(inner) == 1 else nn.Sequential(layer, nn.Flatten(0, 1) if not inner else nn.Unflatten(1, inner))


class MeanOfPlaces(nn.Module):
    """Means over places, [B, C, *places] -> [B, C].

    Args:
        padded: features of 0 alone are padding, which the mean leaves out.
    """

    def __init__(self, padded: bool = False) -> None:
        super().__init__()
        self.padded = padded

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        if not self.padded:
            return x.mean(2)
        real = (x != 0).any(1).to(x.dtype)
        return x.sum(2) / real.sum(1, keepdim=True).clamp(min=1)
