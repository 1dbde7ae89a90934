"""RandomFlip: mirrors images, left to right."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.augmentations.checks import check_numbers, check_part
from fedmtl.augmentations.traits import AugmentationTraits
from fedmtl.core.context import Context


@dataclass(frozen=True)
class RandomFlip:
    """Each image [C, H, W] or [H, W] is mirrored along its last axis with probability p.

    Not for images whose meaning it changes, such as digits and letters.
    """

    p: float = 0.5
    traits = AugmentationTraits(moves=True)

    def __post_init__(self) -> None:
        check_part(self, "p", self.p)

    def check(self, shape: tuple[int, ...], whole: bool) -> None:
        check_numbers(self, shape, whole, 2, "images [C, H, W] or [H, W]")

    def augment(self, x: Tensor, ctx: Context) -> Tensor:
        mirrored = ctx.bernoulli(self.p, (x.shape[0],)).to(x.device)
        return torch.where(mirrored.reshape(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)
