"""No trunk: every task is a linear function of the inputs."""

from dataclasses import dataclass

from torch import nn

from fedmtl.models.heads import linear_head
from fedmtl.models.sizes import check_fields


@dataclass(frozen=True)
class Linear:
    """Flatten; heads are linear and start at 0, where a convex problem may as well start as anywhere."""

    intercept: bool = True
    """A head adds a constant."""

    def __post_init__(self) -> None:
        check_fields(self)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Flatten()

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        head = linear_head(self, features, outputs, self.intercept)
        for value in head.parameters():
            nn.init.zeros_(value)
        return head
