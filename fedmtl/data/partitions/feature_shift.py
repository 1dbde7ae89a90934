"""FeatureShift: clients whose inputs differ: turned, darker or brighter, or noisy, each by a level of its own.

    Li et al., ICDE 2022, section 4.2, arXiv:2102.02079 (noise); Ghosh et al., IFCA, NeurIPS 2020 (rotation).

    l_c = 0 at one client, 1 at another, evenly between at the others, in random order           (1)
    rotation     images are turned by (2 l_c − 1) · most degrees; corners that open are 0        (2)
    brightness   x · (1 + (2 l_c − 1) · most)                                                    (3)
    noise        x + l_c · most · z, z ~ N(0, 1) for each number                                 (4)

A client's training and test examples have the same shift: it is the client's camera, and no change over time.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import SERVER, rng
from fedmtl.data.partitions.base import Change, Dealt, ExampleFacts, Partitioner
from fedmtl.data.partitions.iid import IID

MOST = {"rotation": 180.0, "brightness": 1.0, "noise": math.inf}
"""Kind -> the largest value of ``most``."""


@dataclass(frozen=True)
class FeatureShift:
    """Labels are dealt by another partition."""

    kind: str = "rotation"
    """ "rotation" of images, "brightness" or "noise"."""
    most: float = 45.0
    """Degrees of the rotation, part of the brightness in (0, 1], or standard deviation of the noise."""
    partition: Partitioner = IID()

    def __post_init__(self) -> None:
        if self.kind not in MOST:
            raise ValueError(f"FeatureShift has the kinds {', '.join(MOST)}, got kind={self.kind!r}.")
        if not (np.isfinite(self.most) and 0 < self.most <= MOST[self.kind]):
            bound = "positive" if math.isinf(MOST[self.kind]) else f"above 0 and at most {MOST[self.kind]:g}"
            raise ValueError(f"FeatureShift: most is {bound} for {self.kind}, got most={self.most}.")

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        dealt = self.partition.deal(examples, clients, seed)
        if self.kind == "rotation" and (len(examples.shape) < 2 or min(examples.shape[-2:]) < 2):
            raise ValueError(
                f"FeatureShift turns images […, height, width], got inputs of shape {examples.shape}; use noise."
            )
        count = len(dealt.rows)
        levels = rng(seed, 0, SERVER, "shift").permutation(np.linspace(0, 1, count) if count > 1 else np.zeros(1))
        changes = [self._change(float(level), seed, client) for client, level in enumerate(levels)]
        if dealt.changes:
            changes = [partial(_both, *pair) for pair in zip(dealt.changes, changes, strict=True)]
        return dealt._replace(changes=changes)

    def _change(self, level: float, seed: int, client: int) -> Change:
        if self.kind == "noise":
            return partial(_noisy, level * self.most, seed, client)
        signed = (2 * level - 1) * self.most
        return partial(turned, signed) if self.kind == "rotation" else partial(_scaled, 1 + signed)


def _both(first: Change, second: Change, x: NDArray[Any]) -> NDArray[Any]:
    return second(first(x))


def _scaled(factor: float, x: NDArray[Any]) -> NDArray[Any]:
    return (x * factor).astype(np.float32)  # (3)


def _noisy(std: float, seed: int, client: int, x: NDArray[Any]) -> NDArray[Any]:
    noise = rng(seed, 0, client, "shift").standard_normal(x.shape, np.float32)
    return (x + np.float32(std) * noise).astype(np.float32)  # (4)


def turned(degrees: float, x: NDArray[Any]) -> NDArray[np.float32]:
    """Images […, height, width], turned about their middle, counter-clockwise, between pixels bilinearly: (2)."""
    import torch
    from torch.nn.functional import grid_sample

    *rest, height, width = x.shape
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    # Places of the middles of pixels, the picture's middle at 0, and where each comes from.
    down, right = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    source = np.stack([2 * (cos * right - sin * down) / width, 2 * (sin * right + cos * down) / height], -1)
    grid = torch.from_numpy(source.astype(np.float32))[None]
    images = torch.from_numpy(np.ascontiguousarray(x, np.float32)).reshape(1, math.prod(rest), height, width)
    found = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return found.reshape(x.shape).numpy()
