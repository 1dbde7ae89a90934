"""RandomShift: moves images up and down, left and right, with zeros around: a crop of the padded image."""

from dataclasses import dataclass

from torch import Tensor

from fedmtl.augmentations.checks import check_numbers
from fedmtl.augmentations.shifted import drawn_places, shifted
from fedmtl.augmentations.traits import AugmentationTraits
from fedmtl.core.bounds import check_int
from fedmtl.core.context import Context


@dataclass(frozen=True)
class RandomShift:
    """Each image [C, H, W] or [H, W] is padded by ``most`` zeros on all sides, and cropped to its size at random."""

    most: int = 2
    """Pixels at most, in each direction."""
    traits = AugmentationTraits(moves=True)

    def __post_init__(self) -> None:
        check_int("RandomShift: most", self.most, 0, 10_000)

    def check(self, shape: tuple[int, ...], whole: bool) -> None:
        check_numbers(self, shape, whole, 2, "images [C, H, W] or [H, W]")
        if self.most >= min(shape[-2:]):
            raise ValueError(
                f"augment: {self!r} moves images of {shape[-2]} × {shape[-1]} pixels out of sight; take most="
                f"{max(1, min(shape[-2:]) // 8)}."
            )

    def augment(self, x: Tensor, ctx: Context) -> Tensor:
        draws = ctx.uniform((x.shape[0], 2)).to(x.device)
        places = drawn_places(draws, self.most)
        return shifted(shifted(x, places[:, 0], -2, edge=False), places[:, 1], -1, edge=False)
