"""No trunk: every task is a linear function of the inputs."""

from dataclasses import dataclass

from torch import nn

from fedmtl.core.bounds import check_parameters


@dataclass(frozen=True)
class Linear:
    """Flatten; heads are linear and start at 0, where a convex problem may as well start as anywhere."""

    intercept: bool = True
    """A head adds a constant."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Flatten()

    def head(self, features: int, outputs: int) -> nn.Module:
        check_parameters(self, (features + 1) * outputs)
        head = nn.Linear(features, outputs, bias=self.intercept)
        for value in head.parameters():
            nn.init.zeros_(value)
        return head
