"""TimeShift: moves windows along their time, with the first or the last step repeated."""

from dataclasses import dataclass

from torch import Tensor

from fedmtl.augmentations.checks import check_numbers
from fedmtl.augmentations.shifted import drawn_places, shifted
from fedmtl.augmentations.traits import AugmentationTraits
from fedmtl.core.bounds import check_int
from fedmtl.core.context import Context


@dataclass(frozen=True)
class TimeShift:
    """Each window [channels, steps] is moved by a number of steps, all channels alike."""

    most: int = 4
    """Steps at most, earlier or later."""
    traits = AugmentationTraits(moves=True)

    def __post_init__(self) -> None:
        check_int("TimeShift: most", self.most, 0, 1_000_000)

    def check(self, shape: tuple[int, ...], whole: bool) -> None:
        check_numbers(self, shape, whole, 2, "windows [channels, steps]")
        if self.most >= shape[-1]:
            raise ValueError(
                f"augment: {self!r} moves windows of {shape[-1]} steps out of sight; take "
                f"most={max(1, shape[-1] // 8)}."
            )

    def augment(self, x: Tensor, ctx: Context) -> Tensor:
        return shifted(x, drawn_places(ctx.uniform((x.shape[0],)).to(x.device), self.most), -1, edge=True)
