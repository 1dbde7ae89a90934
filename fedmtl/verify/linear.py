"""Regression by hand, in float64: slopes that are shared and an offset of each task's own.

    f(w) = mean over tasks t of  1/2 · mean over its labelled examples of (x·θ + b_t − y_t)²  +  ridge/2 ‖θ‖²     (1)

θ [d] is ``trunk.theta``, b_t [] is ``head.<t>.b``. f is a quadratic, so its gradient and its minimum are known:
with X [n, d], e_t = Xθ + b_t − y_t, and E means the mean over the labelled examples,

    ∇_θ f = 1/T Σ_t E[x e_t] + ridge θ        ∇_b_t f = 1/T E[e_t]                                                 (2)

Numpy computes (2) and the minimum with formulas of its own; the algorithms differentiate (1) with torch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.types import Batch, LossFn, Params
from fedmtl.data.batches import make_batches

Array = NDArray[np.float64]
LinearLabels = dict[str, Array]
LR = 0.125
"""η: a power of two, which float32 and float64 hold alike."""


def loss_of(tasks: Sequence[str], ridge: float = 0.0) -> LossFn:
    """(1) in torch."""

    def loss(params: Params, batch: Batch) -> Tensor:
        theta = params["trunk.theta"]
        losses = []
        for task in tasks:
            y = batch[f"y.{task}"]
            real = (batch["mask"] > 0) & ~torch.isnan(y)
            error = batch["x"] @ theta + params[f"head.{task}.b"] - torch.where(real, y, 0.0)
            losses.append((torch.where(real, error, 0.0) ** 2).sum() / real.sum().clamp(min=1) / 2)
        return torch.stack(losses).mean() + ridge / 2 * (theta**2).sum()

    return loss


def params_of(theta: Sequence[float] | Array, heads: Mapping[str, float]) -> dict[str, Tensor]:
    w = {"trunk.theta": torch.tensor(np.asarray(theta), dtype=torch.float64)}
    return w | {f"head.{task}.b": torch.tensor(b, dtype=torch.float64) for task, b in heads.items()}


def numbers(params: Params) -> dict[str, Array]:
    return {name: value.numpy() for name, value in params.items()}


def draw(n: int, tasks: Sequence[str], seed: int, d: int = 3) -> tuple[Array, LinearLabels]:
    """n examples whose slopes and offsets are the seed's own, with noise, so that no two clients agree."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, d))
    theta = generator.standard_normal(d)
    return x, {task: x @ theta + generator.standard_normal() + 0.1 * generator.standard_normal(n) for task in tasks}


def whole(x: Array, y: LinearLabels) -> list[dict[str, Tensor]]:
    """All examples as one batch, with two rows of padding."""
    (batch,) = make_batches(x, dict(y), len(x) + 2, None)
    return [batch]


def gradient(w: Mapping[str, Array], x: Array, y: LinearLabels, ridge: float = 0.0) -> dict[str, Array]:
    """(2) in numpy."""
    theta = w["trunk.theta"]
    g: dict[str, Array] = {"trunk.theta": ridge * theta}
    for task, labels in y.items():
        known = ~np.isnan(labels)
        error = x[known] @ theta + w[f"head.{task}.b"] - labels[known]
        g["trunk.theta"] = g["trunk.theta"] + x[known].T @ error / known.sum() / len(y)
        g[f"head.{task}.b"] = error.mean() / len(y)
    return g


def minimum(x: Array, y: LinearLabels, ridge: float = 0.0) -> dict[str, Array]:
    """The zero of (2), by the normal equations of the design (x, a column of ones a task), rows weighted."""
    tasks, d = sorted(y), x.shape[1]
    normal, right = np.zeros((d + len(tasks),) * 2), np.zeros(d + len(tasks))
    normal[:d, :d] = ridge * np.eye(d)
    for column, task in enumerate(tasks):
        known = ~np.isnan(y[task])
        design = np.zeros((known.sum(), d + len(tasks)))
        design[:, :d], design[:, d + column] = x[known], 1
        weight = 1 / known.sum() / len(tasks)
        normal += weight * design.T @ design
        right += weight * design.T @ y[task][known]
    solution = np.asarray(np.linalg.solve(normal, right), np.float64)
    heads: dict[str, Array] = {f"head.{task}.b": solution[d + i] for i, task in enumerate(tasks)}
    return {"trunk.theta": solution[:d], **heads}
