"""ServerOptimizer against rounds in numpy, by any optimizer of the table; parts of the checks of its named settings."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.fedper import FedPer
from fedmtl.core.context import context_of
from fedmtl.core.types import Upload
from fedmtl.optimizers import SGD, AdamW, Momentum, StepDecay
from fedmtl.verify.batch_norm import averaged
from fedmtl.verify.beats_local import Claim, around
from fedmtl.verify.check import CTX, CheckResult, close, every
from fedmtl.verify.planted import one_mean
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


def directions(optimizer: Any, gradients: Sequence[float]) -> list[float]:
    """Return d after each of some gradients of one number, in float64."""
    w = {"w": torch.zeros((), dtype=torch.float64)}
    state, found = optimizer.init(w), []
    for gradient in gradients:
        d, state = optimizer.direction(state, {"w": torch.tensor(gradient, dtype=torch.float64)}, w, torch.zeros(()))
        found.append(float(d["w"]))
    return found


def with_sgd_it_is_what_it_wraps(cls: Callable[..., Any]) -> CheckResult:
    """d = g, η = 1: w − (w − w̄) = w̄, FedAvg's model, to rounding in float64: 3 rounds of 2 epochs of 2 steps."""
    federation, inner = clients(), FedAvg(lr=0.125, epochs=2)
    found = play(cls(inner, SGD(), 1.0), federation, START, 3, steps=2)
    return close(found.personal, play(inner, federation, START, 3, steps=2).personal, atol=1e-14)


def the_state_goes_on_and_the_decay_reads_w(cls: Callable[..., Any]) -> CheckResult:
    """AdamW with λ = 0.3 around FedAvg, 3 rounds in numpy: m and v go on from round to round, and d has λw."""
    beta1, beta2, eps, decay = 0.7, 0.9, 0.01, 0.3
    m, v, t, w = np.zeros(5), np.zeros(5), 0, START
    federation = clients()
    for _ in range(3):
        g, t = w - after(federation, w), t + 1
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        w = w - 0.1 * (m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps) + decay * w)
    found = play(cls(FedAvg(lr=LR, epochs=1), AdamW(beta1, beta2, eps, decay), 0.1), federation, START, 3)
    return close(found.personal, np.stack([w] * 3), atol=1e-11)


def private_heads_stay_with_fedper(cls: Callable[..., Any]) -> CheckResult:
    """Around FedPer the server steps in θ alone, by −ηg of SGD; a client's φ_k goes on from its own."""
    return around_fedper(lambda inner: cls(inner, SGD(), 0.5), lambda g: -0.5 * g, 3)


def a_schedule_is_over_rounds(cls: Callable[..., Any]) -> CheckResult:
    """StepDecay(every=2, factor=¼): with g = 1 and η = ½, w falls by ½ in the rounds 0 and 1, and by ⅛ in 2 and 3."""
    made = cls(FedAvg(), StepDecay(every=2, factor=0.25), 0.5)
    server = made.init_server({"trunk.w": torch.zeros(1, dtype=torch.float64)}, CTX)
    seen = []
    for round in range(4):
        w = server.w["trunk.w"] - 1.0
        server = made.aggregate(server, [(0, Upload({"model": {"trunk.w": w}}, 1.0))], context_of(round=round))
        seen.append(float(server.w["trunk.w"]))
    return close(seen, [-0.5, -1.0, -1.125, -1.25], atol=0)


def running_statistics_take_no_step(cls: Callable[..., Any]) -> CheckResult:
    """Around FedAvg, statistics of BatchNorm are its mean of the clients', see ``averaged``; any step but one of SGD
    with η = 1 would end elsewhere."""
    return averaged(cls(FedAvg(lr=0.1, epochs=1), Momentum(0.5), 0.5))


CHECKS = (
    with_sgd_it_is_what_it_wraps,
    the_state_goes_on_and_the_decay_reads_w,
    private_heads_stay_with_fedper,
    a_schedule_is_over_rounds,
    running_statistics_take_no_step,
)

GAIN = Claim(one_mean, around(FedAvg, server_optimizer=Momentum(0.5)))
