"""Two or three tasks whose gradients are known everywhere: linear losses on one client.

L_t = ⟨a_t, θ⟩ + o_t          g_t = a_t, so that a step of a weighting is θ <- θ − η Σ λ_t a_t              (1)
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from fedmtl.algorithms.fedper import FedPer
from fedmtl.algorithms.task_weighted import TaskWeighted
from fedmtl.core.types import Batch, Params
from fedmtl.verify.check import CTX

Array = NDArray[np.float64]
LR = 0.125
CONFLICT = np.array([[2.0, 0.0, 0.0], [-1.0, 1.0, 0.0]])
"""⟨a_1, a_2⟩ = −2, ‖a_1‖² = 4, ‖a_2‖² = 2."""
THREE = np.array([[2.0, 0.5, 0.0], [-1.0, 1.0, 0.25], [0.5, -2.0, 1.0]])


class LinearLosses(NamedTuple):
    """(1)."""

    slopes: Array
    offsets: Array

    def each(self, params: Params, batch: Batch) -> Tensor:
        heads = torch.stack([params[name] for name in sorted(params) if name.endswith(".b")])
        return torch.as_tensor(self.slopes) @ params["trunk.w"] + torch.as_tensor(self.offsets) + heads

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self.each(params, batch).mean()


class End(NamedTuple):
    """After some rounds of one step each, from 0."""

    theta: Array
    heads: dict[str, float]
    """The client's own, also what the weighting trains."""


def play(
    weighting: Any, losses: Any, rounds: int = 1, wrap: Callable[..., Any] = TaskWeighted, sizes: Sequence[int] = (4,)
) -> End:
    """FedPer with the weighting, alone; ``sizes``: examples of each batch."""
    algorithm = wrap(FedPer(lr=LR, epochs=1), weighting)
    tasks = [f"t{t}" for t in range(len(losses.offsets))]
    params = {"trunk.w": torch.zeros(3, dtype=torch.float64)}
    params |= {f"head.{task}.b": torch.zeros((), dtype=torch.float64) for task in tasks}
    server, private = algorithm.init_server(params, CTX), algorithm.init_client(params, sum(sizes))
    width = max(sizes)
    batches = [
        {
            "x": torch.full((width, 1), float(k)),
            "index": torch.arange(width),
            "mask": (torch.arange(width) < size).float(),
        }
        for k, size in enumerate(sizes)
    ]
    for _ in range(rounds):
        result = algorithm.local_update(losses, algorithm.broadcast(server, 0, CTX), private, batches, CTX)
        private, server = result.private, algorithm.aggregate(server, [(0, result.upload)], CTX)
    return End(server["trunk.w"].numpy(), {name: float(value) for name, value in private.inner.items()})


def direction(weighting: Any, slopes: Array) -> Array:
    """Σ λ_t a_t, from one step."""
    return -play(weighting, LinearLosses(slopes, np.ones(len(slopes)))).theta / LR


def simplex(
    objective: Callable[[Array], float], count: int = 3, slope: Callable[[Array], Array] | None = None
) -> Array:
    """The minimum over weights that add up to 1, by scipy from several starts."""
    starts = [np.full(count, 1 / count), *(np.eye(count) * 0.8 + 0.2 / count)]
    rule = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    settings = {"ftol": 1e-16, "maxiter": 1000}
    bounds = [(0, 1)] * count
    tries = [
        minimize(objective, start, jac=slope, bounds=bounds, constraints=rule, method="SLSQP", options=settings)
        for start in starts
    ]
    return min(tries, key=lambda one: float(one.fun)).x
