"""FedYogi against rounds in numpy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fedmtl.algorithms.fedadam import FedAdam
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
        m, v = beta1 * m + (1 - beta1) * g, np.where(v > g**2, v - (1 - beta2) * g**2, v + (1 - beta2) * g**2)
        return -server_lr * m / (np.sqrt(v) + tau)

    return step


def three_rounds_by_hand(fedyogi: Callable[..., Any]) -> CheckResult:
    """(1) to (3) in numpy from m = 0, v = τ², with the g of one full-batch step of all clients."""
    return around_fedavg(partial(fedyogi, **SETTINGS), _rule(**SETTINGS), 3)


def private_heads_stay_with_fedper(fedyogi: Callable[..., Any]) -> CheckResult:
    """Around FedPer the server steps in θ alone; a client's φ_k goes on from its own."""
    return around_fedper(partial(fedyogi, **SETTINGS), _rule(**SETTINGS), 3)


def it_rises_as_adam_and_falls_by_the_gradient(fedyogi: Callable[..., Any]) -> CheckResult:
    """β₂ = 1/2, τ = 1/4, so v starts at 1/16; g = 1, then 1/4, for both.

    g² = 1 > v: Yogi's v = 1/16 + 1/2 = 9/16, Adam's 1/32 + 1/2 = 17/32. g² = 1/16 < v: Yogi's falls by g²/2, to
    17/32; Adam's halves and adds g²/2, 17/64 + 1/32 = 19/64, by its own size. A second number whose g² = 1/16 = v from
    the start leaves v as it is, for both.
    """
    settings: dict[str, Any] = {"server_lr": 1.0, "beta1": 0.0, "beta2": 0.5, "tau": 0.25}
    gradients = [[1.0, 0.25], [0.25, 0.25]]
    yogi = [state.s.v["trunk.w"].numpy() for state in given(fedyogi(**settings), gradients)]
    adam = [state.s.v["trunk.w"].numpy() for state in given(FedAdam(**settings), gradients)]
    return every(
        close(adam, [[17 / 32, 1 / 16], [19 / 64, 1 / 16]], atol=1e-15),
        close(yogi, [[9 / 16, 1 / 16], [17 / 32, 1 / 16]], atol=1e-15),
    )


def a_lull_does_not_speed_it_up(fedyogi: Callable[..., Any]) -> CheckResult:
    """After g = 1, rounds of g = 0 leave v as it is, τ² + (1 − β₂): v does not fall to what the last rounds were."""
    states = given(fedyogi(beta1=0.5, beta2=0.75, tau=0.5), [[1.0], [0.0], [0.0]])
    return close([float(state.s.v["trunk.w"]) for state in states], [0.5] * 3, atol=1e-15)


def running_statistics_take_no_step(fedyogi: Callable[..., Any]) -> CheckResult:
    """Around FedAvg, statistics of BatchNorm are its mean of the clients', see ``averaged``; any step but one of SGD
    with η = 1 would end elsewhere."""
    return averaged(fedyogi(FedAvg(lr=0.1, epochs=1), **SETTINGS))


CHECKS = (
    three_rounds_by_hand,
    private_heads_stay_with_fedper,
    it_rises_as_adam_and_falls_by_the_gradient,
    a_lull_does_not_speed_it_up,
    running_statistics_take_no_step,
)

GAIN = Claim(one_mean, around(FedAvg, server_lr=0.1))
