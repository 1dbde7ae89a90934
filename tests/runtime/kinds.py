"""Six clients with the kinds of task whose labels are levels, rows, maps and sequences: three of seven tasks each."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.tasks import (
    DenseClasses,
    DenseRegression,
    Huber,
    MultiRegression,
    Ordinal,
    Quantile,
    SequenceLabels,
    Task,
)

TASKS: dict[str, Task] = {
    "amounts": MultiRegression(2, mean=(1.0, -2.0), std=(2.0, 0.5)),
    "depth": DenseRegression((3, 3)),
    "far": Huber(delta=0.5),
    "level": Ordinal(4),
    "map": DenseClasses(2, (3, 3), void=255),
    "range": Quantile((0.1, 0.9)),
    "words": SequenceLabels(3, 4, padding=-100),
}

TOKENS = 16384
"""Words of ``TextEncoder``."""


@dataclass(frozen=True)
class Kinds:
    """Inputs [N, 18], texts of hashed words; labels follow from them, a few are missing."""

    def load(self, seed: int) -> Federation:
        draw = np.random.default_rng(seed)
        names, clients = sorted(TASKS), {}
        for client in range(6):
            owned = [names[(2 * client + step) % len(names)] for step in range(3)]
            clients[client] = ClientData(*(self._split(draw, owned, rows) for rows in (5 + client, 4)))
        return Federation(TASKS, (18,), clients, tokens=TOKENS)

    def _split(self, draw: np.random.Generator, owned: list[str], rows: int) -> Split:
        tokens = draw.integers(0, TOKENS, (rows, 18))
        x = ((tokens / TOKENS - 0.5) * 12**0.5).reshape(rows, 2, 3, 3)  # of mean 0 and variance 1
        z = x.mean((1, 2, 3))
        steps = np.digitize(x[:, 0].reshape(rows, 9)[:, :4], [-0.5, 0.5])
        labels: dict[str, Any] = {
            "amounts": np.stack([1 + z, z - 2], 1),
            "depth": x.sum(1),
            "far": 3 * z,
            "level": np.digitize(z, [-0.2, 0.0, 0.2]),
            "map": np.where(np.arange(9).reshape(3, 3) == 4, 255, x[:, 0] > 0),
            "range": 2 * z,
            "words": np.where(np.arange(4) > 2, -100, steps),
        }
        found = {task: labels[task].astype(np.float32) for task in owned}
        for task in owned:
            if task in ("amounts", "far", "level"):
                found[task][0] = np.nan
        return Split(tokens, found)
