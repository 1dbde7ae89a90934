"""RandomScale: multiplies each channel of a window, as a sensor of another gain would."""

from dataclasses import dataclass

from torch import Tensor

from fedmtl.augmentations.checks import check_numbers, check_part
from fedmtl.augmentations.traits import AugmentationTraits
from fedmtl.core.context import Context


@dataclass(frozen=True)
class RandomScale:
    """x (1 + σ z), with z of N(0, 1) for each channel of a window [channels, steps]; of a table, for each example."""

    std: float = 0.1
    """σ."""
    traits = AugmentationTraits()

    def __post_init__(self) -> None:
        check_part(self, "std", self.std, 1e6)

    def check(self, shape: tuple[int, ...], whole: bool) -> None:
        check_numbers(self, shape, whole, 1, "windows [channels, steps]")

    def augment(self, x: Tensor, ctx: Context) -> Tensor:
        channels = x.shape[1] if x.dim() > 2 else 1
        z = ctx.normal((x.shape[0], channels)).to(x.device)
        return x * (1 + self.std * z).reshape(x.shape[0], channels, *[1] * (x.dim() - 2))
