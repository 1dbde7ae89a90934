"""A round of the wrapped algorithm in numpy, for the checks of server optimizers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.fedper import FedPer
from fedmtl.core.types import Upload
from fedmtl.verify.check import CTX, CheckResult, close, every
from fedmtl.verify.quadratic import Array, Quadratic, clients, play, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
LR = 0.25
Step = Callable[[Array], Array]
"""The pseudo-gradient of a round -> the change of the model; its closure has the moments of earlier rounds."""


def after(federation: Sequence[Quadratic], w: Array) -> Array:
    """Σ p_k (w − η ∇f_k(w)): FedAvg's mean after a step of each client."""
    return weights(federation) @ np.stack([w - LR * one.gradient(w) for one in federation])


def around_fedavg(optimizer: Callable[..., Any], step: Step, rounds: int) -> CheckResult:
    """Rounds of one full-batch step of each client, the whole model shared."""
    federation, w = clients(), START
    for _ in range(rounds):
        w = w + step(w - after(federation, w))
    found = play(optimizer(FedAvg(lr=LR, epochs=1)), federation, START, rounds)
    return close(found.personal, np.stack([w] * len(federation)), atol=1e-12)


def around_fedper(optimizer: Callable[..., Any], step: Step, rounds: int) -> CheckResult:
    """The same with private heads: the step is taken in the trunk alone, the first 3 numbers."""
    federation, trunk = clients(), START[:3]
    heads = np.stack([START[3:]] * len(federation))
    for _ in range(rounds):
        both = [np.concatenate([trunk, head]) for head in heads]
        ends = np.stack([w - LR * one.gradient(w) for w, one in zip(both, federation, strict=True)])
        trunk, heads = trunk + step(trunk - weights(federation) @ ends[:, :3]), ends[:, 3:]
    found = play(optimizer(FedPer(lr=LR, epochs=1)), federation, START, rounds)
    expected = np.concatenate([np.stack([trunk] * len(heads)), heads], axis=1)
    return every(close(found.personal[:, :3], expected[:, :3], atol=1e-12), close(found.personal, expected, atol=1e-12))


def given(optimizer: Any, gradients: Sequence[Sequence[float]]) -> list[Any]:
    """The server's states of rounds whose pseudo-gradients are given, from a model of zeros."""
    server, states = (
        optimizer.init_server({"trunk.w": torch.zeros(len(gradients[0]), dtype=torch.float64)}, CTX),
        [],
    )
    for gradient in gradients:
        w = server.w["trunk.w"] - torch.tensor(gradient, dtype=torch.float64)
        server = optimizer.aggregate(server, [(0, Upload({"model": {"trunk.w": w}}, 1.0))], CTX)
        states.append(server)
    return states
