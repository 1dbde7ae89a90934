"""Federations of linear regressions whose optima are known, with something in common, and models that hold it.

The notation is that of fedmtl/verify/beats_local.py.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.adapters import MERGED, A, B
from fedmtl.core.types import Batch, Params

CLIENTS, EXAMPLES, INPUTS = 16, 6, 12
Predict = Callable[[Params, Tensor], Tensor]
"""(parameters, inputs [n, d]) -> predictions [n]."""


class Loss(NamedTuple):
    """Half the mean squared error, of the one task t."""

    predict: Predict

    def each(self, params: Params, batch: Batch) -> Tensor:
        return (self.predict(params, batch["x"]) - batch["y.t"]).square().mean().reshape(1) / 2

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self.each(params, batch).mean()


class Hinge(NamedTuple):
    """MOCHA's, for the label 1 where y > 0."""

    predict: Predict

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return (1 - (2 * batch["y.t"] - 1) * self.predict(params, batch["x"])).clamp(min=0).mean()


class Problem(NamedTuple):
    """A federation, and the model that it is given to."""

    stars: NDArray[np.float64]
    """w*_k [K, d]."""
    start: dict[str, Tensor]
    predict: Predict
    labels: bool = False
    """Labels are y > 0 alone; then the risk is that of a wrong label, the angle between w and w*_k over π."""
    lr: float = 0.1
    """That learning alone has, and most others."""

    def batch(self) -> dict[str, Tensor]:
        """All examples of all clients, arrays [K, n, …]."""
        generator = np.random.default_rng(1)
        x = generator.standard_normal((len(self.stars), EXAMPLES, self.stars.shape[1]))
        y = np.einsum("knd,kd->kn", x, self.stars)
        y = y > 0 if self.labels else y + 0.1 * generator.standard_normal(y.shape)
        count = torch.ones(len(y), EXAMPLES)
        index = torch.arange(EXAMPLES).expand(len(y), -1)
        return {"x": torch.tensor(x), "y.t": torch.tensor(y).double(), "mask": count, "index": index}

    def risk(self, predictions: Sequence[Callable[[Tensor], Tensor]]) -> float:
        """The mean of (2) over the clients' f: b = f(0), and w_j = f(e_j) − b."""
        basis = torch.eye(self.stars.shape[1], dtype=torch.float64)
        found = []
        for f, star in zip(predictions, self.stars, strict=True):
            b = f(torch.zeros_like(basis[:1])).numpy()
            w = f(basis).numpy() - b
            if self.labels:
                found.append(np.arccos(w @ star / (np.linalg.norm(w) * np.linalg.norm(star) + 1e-300)) / np.pi)
            else:
                found.append(np.square(w - star).sum() + float(b[0]) ** 2)
        return float(np.mean(found))


def _draw(*shape: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng([2, seed]).standard_normal(shape)


def _slopes(params: Params, x: Tensor) -> Tensor:
    return x @ params["trunk.w"] + params["head.t.b"]


def _slopes_start() -> dict[str, Tensor]:
    """Small, not 0: what several models begin with is drawn in the scale of the first."""
    return {"trunk.w": torch.tensor(0.05 * _draw(INPUTS, seed=1)), "head.t.b": torch.zeros((), dtype=torch.float64)}


def _features(params: Params, x: Tensor) -> Tensor:
    return x @ params["trunk.w"].T @ params["head.t.w"]


def one_mean() -> Problem:
    """w*_k = m + u_k with ‖m‖² about d and ‖u_k‖² about d/16: one model for all clients is wrong by that."""
    stars = _draw(INPUTS, seed=3) + _draw(CLIENTS, INPUTS, seed=4) / 4
    return Problem(stars, _slopes_start(), _slopes)


def two_clusters() -> Problem:
    """w*_k = ±m + u_k with ‖u_k‖² about d/16, for the first and the second half: one model for all clients is near 0,
    and wrong by ‖m‖²."""
    sides = np.repeat([1.0, -1.0], CLIENTS // 2)[:, None]
    stars = sides * _draw(INPUTS, seed=3) + _draw(CLIENTS, INPUTS, seed=4) / 4
    return Problem(stars, _slopes_start(), _slopes)


def one_subspace() -> Problem:
    """w*_k = Vᵀh_k with two directions V: 24 numbers in common and two of each client's own, from 96 examples."""
    directions = np.linalg.qr(_draw(INPUTS, 2, seed=5))[0].T
    stars = 2 * _draw(CLIENTS, 2, seed=6) @ directions
    start = {"trunk.w": torch.tensor(0.3 * _draw(2, INPUTS, seed=7)), "head.t.w": torch.tensor(_draw(2, seed=8))}
    return Problem(stars, start, _features, lr=0.05)


def one_subspace_by_adapters(rank: int = 2) -> Problem:
    """``one_subspace`` for two features x ↦ (W + B A) x with W frozen as the trunk began there: A [rank, d] is drawn, B
    is 0."""
    problem = one_subspace()
    w = problem.start["trunk.w"]

    def predict(params: Params, x: Tensor) -> Tensor:
        update = params["trunk.w" + B] @ params["trunk.w" + A] + params.get("trunk.w" + MERGED, torch.zeros(()))
        return x @ (w + update).T @ params["head.t.w"]

    factors = {
        "trunk.w" + A: torch.tensor(_draw(rank, INPUTS, seed=10) / np.sqrt(INPUTS)),
        "trunk.w" + B: torch.zeros(2, rank, dtype=torch.float64),
    }
    return problem._replace(start={**factors, "head.t.w": problem.start["head.t.w"]}, predict=predict)


def one_subspace_by_wide_adapters() -> Problem:
    """``one_subspace_by_adapters`` of rank d, whose B reaches every W where A stays as drawn."""
    return one_subspace_by_adapters(INPUTS)


def one_mean_by_features() -> Problem:
    """``one_mean`` for a trunk of two features, whose head may stay as it was drawn."""
    return one_mean()._replace(start=one_subspace().start, predict=_features, lr=0.05)


def one_model_by_gains() -> Problem:
    """w*_k = s_k m, of unlike sensors: what the head [d] has in common shows when each trunk knows its own s_k."""
    sizes = 1 + _draw(CLIENTS, 1, seed=9) / 2
    start = {
        "trunk.s": torch.ones((), dtype=torch.float64),
        "head.t.w": torch.tensor(0.05 * _draw(INPUTS, seed=1)),
    }
    return Problem(sizes * _draw(INPUTS, seed=3), start, _gain, lr=0.02)


def one_model_by_norms() -> Problem:
    """``one_model_by_gains`` with the gain in a norm layer's weight and bias, known by their shapes."""
    problem = one_model_by_gains()
    one = torch.ones(1, dtype=torch.float64)
    start = {"trunk.weight": one, "trunk.bias": 0 * one, "head.t.w": problem.start["head.t.w"]}
    return problem._replace(start=start, predict=_norm)


def two_clusters_of_labels() -> Problem:
    """``two_clusters`` for linear models of yes or no: turned round, the one half's model is the other's."""
    start = {"head.t.weight": torch.zeros(1, INPUTS, dtype=torch.float64)}
    return two_clusters()._replace(start=start, predict=_no_offset, labels=True)


def _gain(params: Params, x: Tensor) -> Tensor:
    return params["trunk.s"] * (x @ params["head.t.w"])


def _norm(params: Params, x: Tensor) -> Tensor:
    return params["trunk.weight"][0] * (x @ params["head.t.w"]) + params["trunk.bias"][0]


def _no_offset(params: Params, x: Tensor) -> Tensor:
    return x @ params["head.t.weight"][0]
