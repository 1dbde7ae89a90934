"""WordDropout: makes words of texts unknown."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.augmentations.checks import check_part
from fedmtl.augmentations.traits import AugmentationTraits
from fedmtl.core.context import Context
from fedmtl.data.words import PADDING, UNKNOWN


@dataclass(frozen=True)
class WordDropout:
    """Each token but padding becomes the unknown word with probability p."""

    p: float = 0.1
    traits = AugmentationTraits()

    def __post_init__(self) -> None:
        check_part(self, "p", self.p)

    def check(self, shape: tuple[int, ...], whole: bool) -> None:
        if not whole:
            raise ValueError(f"augment: {self!r} changes tokens, and inputs are numbers; take Jitter, or leave it out.")

    def augment(self, x: Tensor, ctx: Context) -> Tensor:
        dropped = ctx.bernoulli(self.p, tuple(x.shape)).to(x.device)
        return torch.where(dropped & (x != PADDING), torch.full_like(x, UNKNOWN), x)
