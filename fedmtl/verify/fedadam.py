"""FedAdam against rounds in numpy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.verify.batch_norm import averaged
from fedmtl.verify.beats_local import Claim, around
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import Array
from fedmtl.verify.server_optimizer import Step, around_fedavg, around_fedper, given

SETTINGS = {"server_lr": 0.05, "beta1": 0.7, "beta2": 0.9, "tau": 0.1}


def _rule(server_lr: float, beta1: float, beta2: float, tau: float) -> Step:
    m, v = np.zeros(1), np.full(1, tau**2)

    def step(g: Array) -> Array:
        nonlocal m, v
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        return -server_lr * m / (np.sqrt(v) + tau)

    return step


def three_rounds_by_hand(fedadam: Callable[..., Any]) -> CheckResult:
    """(1) to (3) in numpy from m = 0, v = τ², with the g of one full-batch step of all clients."""
    return around_fedavg(partial(fedadam, **SETTINGS), _rule(**SETTINGS), 3)


def private_heads_stay_with_fedper(fedadam: Callable[..., Any]) -> CheckResult:
    """Around FedPer the server steps in θ alone; a client's φ_k goes on from its own."""
    return around_fedper(partial(fedadam, **SETTINGS), _rule(**SETTINGS), 3)


def two_rounds_on_paper(fedadam: Callable[..., Any]) -> CheckResult:
    """β₁ = β₂ = 1/2, τ = 1/4, so v starts at 1/16; g = 1, then 0.

    m = 1/2, 1/4; v = 1/32 + 1/2 = 17/32, then 17/64.
    """
    states = given(fedadam(server_lr=1.0, beta1=0.5, beta2=0.5, tau=0.25), [[1.0], [0.0]])
    return every(
        close([float(state.s.m["trunk.w"]) for state in states], [1 / 2, 1 / 4], atol=1e-15),
        close([float(state.s.v["trunk.w"]) for state in states], [17 / 32, 17 / 64], atol=1e-15),
    )


def without_memory_it_goes_by_signs(fedadam: Callable[..., Any]) -> CheckResult:
    """β₁ = β₂ = 0: m = g, v = g², a step of ηg / (|g| + τ): η toward the sign, but for τ / |g| ≤ 1e-6 of it."""
    gradient = [3.0, -0.02, 0.5]
    (state,) = given(fedadam(server_lr=0.1, beta1=0.0, beta2=0.0, tau=2e-8), [gradient])
    return close(state.w["trunk.w"].numpy(), -0.1 * np.sign(gradient), atol=1.01e-7)


def running_statistics_take_no_step(fedadam: Callable[..., Any]) -> CheckResult:
    """Around FedAvg, statistics of BatchNorm are its mean of the clients', see ``averaged``; any step but one of SGD
    with η = 1 would end elsewhere."""
    return averaged(fedadam(FedAvg(lr=0.1, epochs=1), **SETTINGS))


CHECKS = (
    three_rounds_by_hand,
    private_heads_stay_with_fedper,
    two_rounds_on_paper,
    without_memory_it_goes_by_signs,
    running_statistics_take_no_step,
)

GAIN = Claim(one_mean, around(FedAvg, server_lr=0.1))
