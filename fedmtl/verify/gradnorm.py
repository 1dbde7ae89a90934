"""GradNorm by hand, and against Algorithm 1 in numpy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.core.types import Batch, Params
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.two_tasks import CONFLICT, LR, Array, LinearLosses, play


class QuadraticLosses(NamedTuple):
    """L_t = ½ Σ_i h_ti (θ_i − c_ti)² + o_t, whose slope g_t = h_t (θ − c_t) is known everywhere."""

    curvature: Array
    """h, [T, 3]."""
    centre: Array
    """c, [T, 3]."""
    offsets: Array

    def each(self, params: Params, batch: Batch) -> Tensor:
        h, c, o = (torch.as_tensor(part) for part in self)
        return 0.5 * (h * (params["trunk.w"] - c) ** 2).sum(1) + o

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self.each(params, batch).mean()


def algorithm_1(losses: QuadraticLosses, alpha: float, rounds: int, floor: float) -> list[tuple[Array, Array]]:
    """Chen et al.'s box in numpy: (θ, w) after each step. Steps of θ take the mean over tasks, η is the same for both;
    w is at least ``floor`` before it is renormalised, which the paper leaves open."""
    h, c, o = losses
    theta, w, first, found = np.zeros(3), np.ones(len(o)), None, []
    for _ in range(rounds):
        value = 0.5 * (h * (theta - c) ** 2).sum(1) + o
        slopes = h * (theta - c)
        first = value if first is None else first
        norms = np.sqrt((slopes**2).sum(1))
        g = w * norms
        ratio = value / first
        aim = g.mean() * (ratio / ratio.mean()) ** alpha
        step = np.sign(g - aim) * norms
        theta = theta - LR * (w @ slopes) / len(w)
        w = np.maximum(w - LR * step, floor)
        w = len(w) * w / w.sum()
        found.append((theta, w))
    return found


def weights(end: Any) -> list[float]:
    return [end.heads[name] for name in sorted(end.heads) if name.endswith(".weight_of_loss")]


def the_first_round_by_hand(gradnorm: Callable[..., Any]) -> CheckResult:
    """w = 1, G = (2, √2), Ḡ = 1 + 1/√2, r = 1: the weights descend on |G_1 − Ḡ| + |G_2 − Ḡ|.

    G_1 = 2 w_1 lies above the aim, G_2 = √2 w_2 below: the slope is (2, −√2), so w becomes (1 − 2η, 1 + √2 η), made to
    sum to 2. θ moves along the mean of the gradients, as w = 1.
    """
    found = play(gradnorm(), LinearLosses(CONFLICT, np.ones(2)))
    stepped = np.array([1 - 2 * LR, 1 + np.sqrt(2) * LR])
    return every(
        close(found.theta, -LR * CONFLICT.mean(0), atol=1e-7),
        close(weights(found), 2 * stepped / stepped.sum(), atol=1e-6),
    )


def twenty_rounds_of_the_papers_algorithm(gradnorm: Callable[..., Any]) -> CheckResult:
    """Three quadratic losses of unlike size and rate; θ and w after 1, 2, 3, 5, 10 and 20 rounds, α = 1.5 and 0.12."""
    draw = np.random.default_rng(3)
    losses = QuadraticLosses(draw.uniform(0.05, 0.4, (3, 3)), draw.standard_normal((3, 3)), np.array([0.1, 0.5, 2.0]))
    parts = []
    for alpha in (1.5, 0.12):
        expected = algorithm_1(losses, alpha, 20, floor=0.0)
        for rounds in (1, 2, 3, 5, 10, 20):
            found = play(gradnorm(alpha=alpha), losses, rounds=rounds)
            theta, w = expected[rounds - 1]
            parts += [close(found.theta, theta, atol=1e-6), close(weights(found), w, atol=1e-6)]
    return every(*parts)


def a_weight_below_zero_comes_back(gradnorm: Callable[..., Any]) -> CheckResult:
    """Task 1 has slopes 40 times those of task 2: a step of 40 η takes w_1 far below 0 and the floor of 1e-6 catches
    it; then G_1 lies below its aim, and the next step is as long the other way. 20 rounds by numpy; between the floor
    and the top, w_1 changes sides more than five times."""
    losses = QuadraticLosses(np.array([[8.0, 0, 0], [0.2, 0, 0]]), np.array([[5.0, 0, 0], [5.0, 0, 0]]), np.ones(2) * 3)
    expected = algorithm_1(losses, 1.0, 20, floor=1e-6)
    found = [weights(play(gradnorm(alpha=1.0), losses, rounds=rounds)) for rounds in range(1, 21)]
    low = np.array(found)[:, 0] < 0.01
    turns = int((low[1:] != low[:-1]).sum())
    return every(
        close(found, [w for _, w in expected], atol=1e-6),
        CheckResult("w_1 below 0.01 after round 1", f"{found[0][0]:.3g}", bool(low[0])),
        CheckResult("> 5 turns", str(turns), turns > 5),
    )


def steps_within_a_round_are_renormalised(gradnorm: Callable[..., Any]) -> CheckResult:
    """Two batches and one of padding: two steps of Algorithm 1, and a third that changes nothing."""
    draw = np.random.default_rng(5)
    losses = QuadraticLosses(draw.uniform(0.05, 0.4, (2, 3)), draw.standard_normal((2, 3)), np.array([0.5, 2.0]))
    theta, w = algorithm_1(losses, 0.5, 2, floor=0.0)[-1]
    found = play(gradnorm(alpha=0.5), losses, sizes=(4, 2, 0))
    return every(close(found.theta, theta, atol=1e-6), close(weights(found), w, atol=1e-6))


CHECKS = (
    the_first_round_by_hand,
    twenty_rounds_of_the_papers_algorithm,
    a_weight_below_zero_comes_back,
    steps_within_a_round_are_renormalised,
)
