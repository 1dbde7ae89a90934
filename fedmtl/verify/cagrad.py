"""CAGrad against the dual, solved by scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import Found, close
from fedmtl.verify.two_tasks import CONFLICT, LR, Array, Linear, direction, play, simplex

LONG = 8 * np.array([[0.5, 2.0, 0.5], [-0.5, 1.5, -0.5], [0.5, 0.0, -2.5]])


def without_radius_it_is_the_mean(cagrad: Callable[..., Any]) -> Found:
    """c = 0: the ball around g_0 = (0.5, 0.5, 0) is a point."""
    return close(direction(cagrad(c=0.0), CONFLICT), [0.5, 0.5, 0.0], atol=1e-12)


def it_is_what_scipy_finds(cagrad: Callable[..., Any]) -> Found:
    """w minimises ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖ over the simplex; g_0 + c ‖g_0‖ / ‖g_w‖ g_w, for c = 0.4.

    The gradients are chosen so that every task has a part in w, and are long, so that a solver must not mind.
    """
    c, mean = 0.4, LONG.mean(axis=0)

    def dual(w: Array) -> float:
        g = w @ LONG
        return float(g @ mean + c * np.linalg.norm(mean) * np.linalg.norm(g))

    g = simplex(dual) @ LONG
    expected = mean + c * np.linalg.norm(mean) / np.linalg.norm(g) * g
    return close(direction(cagrad(c=c, steps=2000), LONG) / 8, expected / 8, atol=2e-3)


def it_stays_on_the_ball(cagrad: Callable[..., Any]) -> Found:
    """‖g − g_0‖ = c ‖g_0‖, for c = 0.3, also after few steps of the solver."""
    mean = CONFLICT.mean(axis=0)
    gap = np.linalg.norm(direction(cagrad(c=0.3, steps=5), CONFLICT) - mean)
    return close(float(gap), 0.3 * float(np.linalg.norm(mean)), atol=1e-6)


def heads_keep_their_own_gradient(cagrad: Callable[..., Any]) -> Found:
    """∂/∂b_t of the mean is 1/2, whatever the conflict in the trunk: each head moves by −η/2."""
    found = play(cagrad(), Linear(CONFLICT, np.ones(2))).heads
    return close([found["head.t0.b"], found["head.t1.b"]], [-LR / 2, -LR / 2], atol=1e-12)


CHECKS = (
    without_radius_it_is_the_mean,
    it_is_what_scipy_finds,
    it_stays_on_the_ball,
    heads_keep_their_own_gradient,
)
