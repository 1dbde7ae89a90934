"""Int8 weights: one byte a weight, one scale an output channel.

With w_cj the numbers of channel c, which is row c of a matrix [C, …] or filter c of a convolution [C, …]:

    s_c   = max_j |w_cj| / 127               a float32 a channel                                            (1)
    q_cj  = round(w_cj / s_c)                to the nearest, ties to even, in −127, …, 127                  (2)
    w'_cj = s_c q_cj                         what the model computes with                                   (3)

|w' − w| <= s_c / 2, beyond float rounding. Zero stays zero, so a pruned weight stays pruned. Vectors (biases, norms)
stay float32: they are few, and a scale for each of their numbers would cost more than it saves.

torch's own (``torch.quantize_per_channel``, ``torch.ao``) is deprecated, and torchao is a dependency more.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.codecs.blocks import SMALLEST_SCALE, BlockScales
from fedmtl.codecs.int8 import LEVELS
from fedmtl.core.buffers import is_buffer
from fedmtl.core.types import Params


class Quantised(NamedTuple):
    """A weight in int8."""

    levels: Tensor
    """q, int8, of the weight's shape [C, …]."""
    scales: Tensor
    """s, float32, [C]."""


def is_weight(name: str, value: Tensor) -> bool:
    """True where a parameter is a matrix or filters: all that is quantised and pruned. Buffers are none."""
    return value.ndim > 1 and not is_buffer(name)


def quantise(params: Params) -> dict[str, Tensor | Quantised]:
    """Matrices and filters in int8; vectors as they are."""
    return {name: _quantise(value) if is_weight(name, value) else value for name, value in params.items()}


def _quantise(weight: Tensor) -> Quantised:
    largest = weight.abs().reshape(len(weight), -1).amax(1)
    scales = (largest / LEVELS).clamp(float(SMALLEST_SCALE), float(BlockScales(1, LEVELS).largest_scale))  # (1)
    q = (weight / _spread(scales, weight)).round().clamp(-LEVELS, LEVELS)  # (2)
    return Quantised(q.to(torch.int8), scales)


def dequantise(small: Mapping[str, Tensor | Quantised]) -> dict[str, Tensor]:
    """All parameters in float32."""
    return {
        name: value.levels * _spread(value.scales, value.levels) if isinstance(value, Quantised) else value  # (3)
        for name, value in small.items()
    }


def _spread(scales: Tensor, like: Tensor) -> Tensor:
    """[C] -> [C, 1, …], to multiply a weight with."""
    return scales.reshape(-1, *[1] * (like.ndim - 1))
