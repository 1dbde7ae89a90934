"""MGDA in closed form, and against the faces' least squares."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.two_tasks import CONFLICT, LR, Array, LinearLosses, direction, play


def two_tasks_in_closed_form(mgda: Callable[..., Any]) -> CheckResult:
    """λ_1 = ⟨a_2 − a_1, a_2⟩ / ‖a_1 − a_2‖² = 4 / 10: 0.4 a_1 + 0.6 a_2 = (0.2, 0.6, 0), shorter than either."""
    return close(direction(mgda(), CONFLICT), [0.2, 0.6, 0.0], atol=1e-12)


def the_shorter_of_two_that_agree(mgda: Callable[..., Any]) -> CheckResult:
    """a_2 = (1, 0.1, 0) has ⟨a_1 − a_2, a_2⟩ = 1 − 0.01 > 0: no mixture with a_1 is shorter than a_2 alone."""
    return close(direction(mgda(), np.array([[2.0, 0.0, 0.0], [1.0, 0.1, 0.0]])), [1.0, 0.1, 0.0], atol=1e-9)


def two_to_nine_tasks_are_the_shortest(mgda: Callable[..., Any]) -> CheckResult:
    """The nearest point to 0 of a polytope, by the faces' least squares in numpy; also where most tasks conflict, and
    where one gradient is 1e6 times another."""
    draw, parts = np.random.default_rng(2), []
    for count in range(2, 10):
        for shift, spread in ((0.0, 0.0), (0.7, 0.0), (0.7, 3.0)):
            slopes = draw.standard_normal((count, 3)) + shift
            slopes *= 10 ** draw.uniform(-spread, spread, (count, 1))
            size = np.linalg.norm(slopes, axis=1).min()
            parts.append(close(direction(mgda(), slopes) / size, nearest(slopes) / size, atol=1e-6))
    return every(*parts)


def no_task_is_opposed(mgda: Callable[..., Any]) -> CheckResult:
    """⟨a_t, u⟩ ≥ ‖u‖² for all t is the property of the shortest u alone; 12 tasks, more than faces are counted for."""
    slopes = np.random.default_rng(4).standard_normal((12, 3)) + 1.5
    u = direction(mgda(), slopes)
    return close(float((slopes @ u).min() / (u @ u)), 1.0, atol=1e-6)


def two_equal_tasks_share_a_step(mgda: Callable[..., Any]) -> CheckResult:
    """a = (3, 0, 0), (1, 1, 0), (1, 1, 0): the two tie for the smallest ⟨a_t, u⟩, and (1, 1, 0) is the shortest.

    Against the first, ⟨a_2 − a_1, a_2⟩ = −1 < 0: it gets no weight.
    """
    return close(direction(mgda(), np.array([[3.0, 0, 0], [1.0, 1, 0], [1.0, 1, 0]])), [1.0, 1.0, 0.0], atol=1e-9)


def equal_tasks_weigh_alike(mgda: Callable[..., Any]) -> CheckResult:
    """Two tasks of one gradient (1, 1, 0): any λ is shortest, and their heads, of slope λ_t, learn alike: −η/2."""
    found = play(mgda(), LinearLosses(np.array([[1.0, 1, 0], [1.0, 1, 0]]), np.ones(2))).heads
    return close([found["head.t0.b"], found["head.t1.b"]], [-LR / 2, -LR / 2], atol=1e-3 * LR)


def nearest(rows: Array) -> Array:
    """The point of the rows' convex hull that is nearest to 0: of each face's nearest point, found by least squares on
    the differences to its first row, the shortest that lies within."""
    best = rows[(rows**2).sum(1).argmin()]
    for size in range(2, len(rows) + 1):
        for face in combinations(range(len(rows)), size):
            first, others = rows[face[0]], rows[list(face[1:])]
            t = np.linalg.lstsq((others - first).T, -first, rcond=None)[0]
            u = first + t @ (others - first)
            if t.min() >= -1e-12 and t.sum() <= 1 + 1e-12 and u @ u < best @ best:
                best = u
    return best


CHECKS = (
    two_tasks_in_closed_form,
    the_shorter_of_two_that_agree,
    two_to_nine_tasks_are_the_shortest,
    no_task_is_opposed,
    two_equal_tasks_share_a_step,
    equal_tasks_weigh_alike,
)
