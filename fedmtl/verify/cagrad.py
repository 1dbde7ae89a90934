"""CAGrad against the dual, solved by scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.two_tasks import CONFLICT, LR, Array, LinearLosses, direction, play, simplex

LONG = 8 * np.array([[0.5, 2.0, 0.5], [-0.5, 1.5, -0.5], [0.5, 0.0, -2.5]])


def without_radius_it_is_the_mean(cagrad: Callable[..., Any]) -> CheckResult:
    """c = 0: the ball around g_0 = (0.5, 0.5, 0) is a point."""
    return close(direction(cagrad(c=0.0), CONFLICT), [0.5, 0.5, 0.0], atol=1e-12)


def it_is_what_scipy_finds(cagrad: Callable[..., Any]) -> CheckResult:
    """w minimises ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖ over the simplex; g_0 + c ‖g_0‖ / ‖g_w‖ g_w, for c = 0.4.

    First gradients of which every task has a part in w, and are long, so that a solver must not mind; then 2 to 6 tasks
    drawn at random, one gradient up to ten times another.
    """
    c, parts = 0.4, []
    draw = np.random.default_rng(1)
    problems = [LONG] + [draw.standard_normal((k, 3)) * draw.uniform(0.3, 3, (k, 1)) for k in range(2, 7) for _ in "ab"]
    for slopes in problems:
        mean = slopes.mean(axis=0)
        radius = c * float(np.linalg.norm(mean))

        def dual(w: Array, slopes: Array = slopes, mean: Array = mean, radius: float = radius) -> float:
            return float(w @ slopes @ mean + radius * np.linalg.norm(w @ slopes))

        def slope(w: Array, slopes: Array = slopes, mean: Array = mean, radius: float = radius) -> Array:
            return slopes @ (mean + radius * (w @ slopes) / np.linalg.norm(w @ slopes))

        g = simplex(dual, len(slopes), slope) @ slopes
        expected = mean + radius / np.linalg.norm(g) * g
        size = float(np.linalg.norm(mean))
        parts.append(close(direction(cagrad(c=c), slopes) / size, expected / size, atol=2e-6))
    return every(*parts)


def the_least_gain_cannot_be_raised(cagrad: Callable[..., Any]) -> CheckResult:
    """u maximises min_t ⟨a_t, u⟩ within the ball if and only if u − g_0 is a combination, with weights ≥ 0, of the a_t
    for which the minimum is taken: their residual by non-negative least squares is 0. 3 to 12 tasks."""
    c, draw, parts = 0.4, np.random.default_rng(6), []
    for count in (3, 5, 8, 12):
        slopes = draw.standard_normal((count, 3)) + 0.2
        mean = slopes.mean(axis=0)
        u = direction(cagrad(c=c), slopes)
        gains, size = slopes @ u, float(np.linalg.norm(mean))
        least = slopes[gains <= gains.min() + 1e-7 * np.abs(gains).max()]
        parts.append(close(float(nnls(least.T, u - mean)[1]) / size, 0.0, atol=1e-6))
    return every(*parts)


def it_stays_on_the_ball(cagrad: Callable[..., Any]) -> CheckResult:
    """‖g − g_0‖ = c ‖g_0‖, for c = 0.3."""
    mean = CONFLICT.mean(axis=0)
    gap = np.linalg.norm(direction(cagrad(c=0.3), CONFLICT) - mean)
    return close(float(gap), 0.3 * float(np.linalg.norm(mean)), atol=1e-6)


def tasks_that_cancel_take_the_mean(cagrad: Callable[..., Any]) -> CheckResult:
    """(1, 0, 0), (−1, 0, 0), (0, 1, 0): w = (½, ½, 0) has ‖g_w‖ = 0, and the dual is 0, its least: g_0 = (0, ⅓, 0)."""
    slopes = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0]])
    return close(direction(cagrad(), slopes), [0, 1 / 3, 0], atol=1e-6)


def heads_keep_their_own_gradient(cagrad: Callable[..., Any]) -> CheckResult:
    """∂/∂b_t of the mean is 1/2, whatever the conflict in the trunk: each head moves by −η/2."""
    found = play(cagrad(), LinearLosses(CONFLICT, np.ones(2))).heads
    return close([found["head.t0.b"], found["head.t1.b"]], [-LR / 2, -LR / 2], atol=1e-12)


def vectors_of_clients_stay_on_the_ball(cagrad: Callable[..., Any]) -> CheckResult:
    """‖g − g_0‖ = c ‖g_0‖, for c = 0.3, with g_0 the mean of two vectors with the weights ¼ and ¾."""
    weights = np.array([0.25, 0.75])
    rows, mean = torch.from_numpy(CONFLICT), weights @ CONFLICT
    found = cagrad(c=0.3).combine_vectors(rows, weights, np.random.default_rng(0)).numpy()
    return close(float(np.linalg.norm(found - mean)), 0.3 * float(np.linalg.norm(mean)), atol=1e-6)


CHECKS = (
    vectors_of_clients_stay_on_the_ball,
    without_radius_it_is_the_mean,
    it_is_what_scipy_finds,
    the_least_gain_cannot_be_raised,
    it_stays_on_the_ball,
    tasks_that_cancel_take_the_mean,
    heads_keep_their_own_gradient,
)
