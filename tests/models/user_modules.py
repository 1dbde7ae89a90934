"""Modules as users write them, for ``FromModule``, and data for them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedmtl.data.arrays import from_arrays
from fedmtl.data.base import Federation
from fedmtl.tasks import MultiClass


class TwoHeads(nn.Module):
    """A hidden layer with BatchNorm and dropout, and a head for each of two tasks: ``forward`` gives both."""

    def __init__(self, width: int = 6, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(width, 3)
        self.norm = nn.BatchNorm1d(width)
        self.fc2 = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.dropout(self.backbone(x))
        return {"kind": self.fc1(features), "side": self.fc2(self.norm(features))}


class OneHead(nn.Module):
    """A hidden layer and a last layer of four classes."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(8, width), nn.Tanh())
        self.fc = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x))


class Parts(nn.Module):
    """A backbone and heads, and no forward."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Tanh())
        self.heads = nn.ModuleDict(
            {"a": nn.Linear(6, 3), "b": nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))}
        )


class Tied(nn.Module):
    """A layer whose weight is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 8), nn.Linear(8, 8)
        self.down.weight = self.up.weight
        self.fc1, self.fc2 = nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = torch.tanh(self.down(torch.tanh(self.up(x.flatten(1)))))
        return {"kind": self.fc1(features), "side": self.fc2(features)}


@dataclass(frozen=True)
class Pictures:
    """Clients with ``kind``, of 3 classes, ``side``, of 2, or both, of unlike sizes."""

    clients: int = 4
    shape: tuple[int, ...] = (2, 4)
    least: int = 5
    both: bool = False

    def load(self, seed: int) -> Federation:
        draw = np.random.default_rng(seed)
        found: dict[int, Any] = {}
        for k in range(self.clients):
            n = self.least + 4 * (k % 3)
            labels = {"kind": np.arange(n) % 3, "side": np.arange(n) % 2}
            owned = ("kind", "side") if self.both else (("kind", "side"), ("kind",), ("side",))[k % 3]
            x = draw.standard_normal((n, *self.shape)).astype(np.float32)
            found[k] = x, {task: labels[task] for task in owned}
        return from_arrays(found, tasks={"kind": MultiClass(3), "side": MultiClass(2)}).load(seed)
