"""MGDA in closed form, and against scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import Found, close
from fedmtl.verify.two_tasks import CONFLICT, THREE, Array, direction, simplex


def two_tasks_in_closed_form(mgda: Callable[..., Any]) -> Found:
    """λ_1 = ⟨a_2 − a_1, a_2⟩ / ‖a_1 − a_2‖² = 4 / 10: 0.4 a_1 + 0.6 a_2 = (0.2, 0.6, 0), shorter than either.

    One step of Frank and Wolfe's is exact on a line.
    """
    return close(direction(mgda(steps=1), CONFLICT), [0.2, 0.6, 0.0], atol=1e-12)


def the_shorter_of_two_that_agree(mgda: Callable[..., Any]) -> Found:
    """a_2 = (1, 0.1, 0) has ⟨a_1 − a_2, a_2⟩ = 1 − 0.01 > 0: no mixture with a_1 is shorter than a_2 alone."""
    return close(direction(mgda(), np.array([[2.0, 0.0, 0.0], [1.0, 0.1, 0.0]])), [1.0, 0.1, 0.0], atol=1e-9)


def three_tasks_are_the_shortest(mgda: Callable[..., Any]) -> Found:
    """The quadratic programme min ‖Σ λ_t a_t‖² over the simplex, by scipy; 2,000 steps come to 1e-3 of it."""

    def objective(w: Array) -> float:
        return float(((w @ THREE) ** 2).sum())

    return close(direction(mgda(steps=2000), THREE), simplex(objective) @ THREE, atol=1e-3)


def two_equal_tasks_share_a_step(mgda: Callable[..., Any]) -> Found:
    """a = (3, 0, 0), (1, 1, 0), (1, 1, 0): the two tie for the smallest ⟨a_t, u⟩, and (1, 1, 0) is the shortest.

    Against the first, ⟨a_2 − a_1, a_2⟩ = −1 < 0: it gets no weight.
    """
    return close(direction(mgda(), np.array([[3.0, 0, 0], [1.0, 1, 0], [1.0, 1, 0]])), [1.0, 1.0, 0.0], atol=1e-9)


def three_steps_on_the_vectors_themselves(mgda: Callable[..., Any]) -> Found:
    """Frank and Wolfe's (2) in numpy, on vectors and not on their inner products."""
    u = THREE.mean(axis=0)
    for _ in range(3):
        g = THREE[(THREE @ u).argmin()]
        u = u + np.clip((u - g) @ u / ((u - g) @ (u - g)), 0, 1) * (g - u)
    return close(direction(mgda(steps=3), THREE), u, atol=1e-9)


CHECKS = (
    two_tasks_in_closed_form,
    the_shorter_of_two_that_agree,
    three_tasks_are_the_shortest,
    two_equal_tasks_share_a_step,
    three_steps_on_the_vectors_themselves,
)
