"""Linear heads for outputs of any shape."""

from math import prod
from typing import Any

from torch import nn

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
