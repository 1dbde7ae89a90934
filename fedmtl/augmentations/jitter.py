"""Jitter: adds noise to every number, of images, windows and tables."""

from dataclasses import dataclass

from torch import Tensor

from fedmtl.augmentations.checks import check_numbers, check_part
from fedmtl.augmentations.traits import AugmentationTraits
from fedmtl.core.context import Context


@dataclass(frozen=True)
class Jitter:
    """x + σ z, with z of N(0, 1) for every number."""

    std: float = 0.05
    """σ, in the unit of the inputs: a part of their deviation, where they are standardised."""
    traits = AugmentationTraits()

    def __post_init__(self) -> None:
        check_part(self, "std", self.std, 1e6)

    def check(self, shape: tuple[int, ...], whole: bool) -> None:
        check_numbers(self, shape, whole, 1, "numbers [features, …]")

    def augment(self, x: Tensor, ctx: Context) -> Tensor:
        return x + self.std * ctx.normal(tuple(x.shape)).to(x.device)
