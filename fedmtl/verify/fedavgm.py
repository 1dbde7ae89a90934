"""FedAvgM against rounds in numpy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.verify.batch_norm import averaged
from fedmtl.verify.beats_local import Claim, around
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import Array, clients, play
from fedmtl.verify.server_optimizer import START, Step, around_fedavg, around_fedper, given


def _rule(server_lr: float, momentum: float) -> Step:
    m = np.zeros(1)

    def step(g: Array) -> Array:
        nonlocal m
        m = momentum * m + g
        return -server_lr * m

    return step


def without_momentum_it_is_what_it_wraps(fedavgm: Callable[..., Any]) -> CheckResult:
    """β = 0, η = 1: w − (w − w̄) = w̄, FedAvg's model, to rounding in float64: 3 rounds of 2 epochs of 2 steps."""
    federation, inner = clients(), FedAvg(lr=0.125, epochs=2)
    found = play(fedavgm(inner, server_lr=1.0, momentum=0.0), federation, START, 3, steps=2)
    return close(found.personal, play(inner, federation, START, 3, steps=2).personal, atol=1e-14)


def three_rounds_by_hand(fedavgm: Callable[..., Any]) -> CheckResult:
    """m₁ = g₁, m₂ = βm₁ + g₂, m₃ = βm₂ + g₃, each round w − ηm; the g of one full-batch step of all, in numpy."""
    return around_fedavg(partial(fedavgm, server_lr=0.5, momentum=0.7), _rule(0.5, 0.7), 3)


def private_heads_stay_with_fedper(fedavgm: Callable[..., Any]) -> CheckResult:
    """Around FedPer the server steps in θ alone; a client's φ_k goes on from its own."""
    return around_fedper(partial(fedavgm, server_lr=0.5, momentum=0.7), _rule(0.5, 0.7), 3)


def equal_gradients_add_up(fedavgm: Callable[..., Any]) -> CheckResult:
    """g = 1 always, β = 1/2, η = 1/4: m = 1, 1.5, 1.75, so w = −0.25, −0.625, −1.0625, all exact in binary."""
    states = given(fedavgm(server_lr=0.25, momentum=0.5), [[1.0]] * 3)
    return every(
        close([float(state.s["trunk.w"]) for state in states], [1.0, 1.5, 1.75], atol=0),
        close([float(state.w["trunk.w"]) for state in states], [-0.25, -0.625, -1.0625], atol=0),
    )


def running_statistics_take_no_step(fedavgm: Callable[..., Any]) -> CheckResult:
    """Around FedAvg, statistics of BatchNorm are its mean of the clients', see ``averaged``; any step but one of SGD
    with η = 1 would end elsewhere."""
    return averaged(fedavgm(FedAvg(lr=0.1, epochs=1), server_lr=0.5, momentum=0.5))


CHECKS = (
    without_momentum_it_is_what_it_wraps,
    three_rounds_by_hand,
    private_heads_stay_with_fedper,
    equal_gradients_add_up,
    running_statistics_take_no_step,
)

GAIN = Claim(one_mean, around(FedAvg, momentum=0.5))
