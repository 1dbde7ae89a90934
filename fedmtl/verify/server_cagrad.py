"""ServerCAGrad against closed forms, and its dual against a grid."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.fedper import FedPer
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, close, every
from fedmtl.verify.fixed_updates import LR, cosine_matrix, enrolled, planted, sent
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.quadratic import Array, clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
CONFLICTING = np.array([[1.0, 0.2, 0.1], [-0.7, 1.0, -0.3], [-0.1, -0.8, 1.5]])
COUNTS = np.array([6, 10, 4])


def step(cagrad: Callable[..., Any], deltas: Array, c: float) -> Array:
    """U for these updates."""
    heads = np.zeros((len(deltas), 2))
    federation = planted(np.hstack([deltas, heads]), COUNTS[: len(deltas)].tolist())
    return play(cagrad(lr=LR, epochs=1, c=c), federation, np.zeros(5), 1).personal[0, :3]


def with_no_room_it_is_fedper(cagrad: Callable[..., Any]) -> CheckResult:
    """c = 0 leaves nothing but the mean in (3): 3 rounds of 2 epochs of 2 steps are FedPer's."""
    found = play(cagrad(lr=0.125, epochs=2, c=0.0), clients(), START, 3, steps=2)
    return close(found.personal, play(FedPer(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal, atol=1e-12)


def one_client_goes_farther(cagrad: Callable[..., Any]) -> CheckResult:
    """With one client, g_0 = Δ, and the best u within c‖Δ‖ of it is (1 + c) Δ: nothing is rescaled."""
    delta = np.array([[1.0, -2.0, 0.5]])
    return close(step(cagrad, delta, 0.4), 1.4 * delta[0], atol=1e-9)


def two_by_hand(cagrad: Callable[..., Any]) -> CheckResult:
    """Δ_1 = (1, 0, 0) and Δ_2 = (0, 2, 0), of 6 and 10 examples: g_0 = (⅜, 5/4, 0), c = 0.4.

    With g_w = (w, 2(1 − w), 0) the dual is ⅜w + (5/2)(1 − w) + 0.4 ‖g_0‖ √(w² + 4(1 − w)²). Its slope at w = 1 is
    −17/8 + 0.4 ‖g_0‖ < 0 for ‖g_0‖ = 1.305, and it is convex: w = 1, U = g_0 + 0.4 ‖g_0‖ (1, 0, 0). Indeed it is client
    1 that gains less.
    """
    deltas = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    expected = np.array([3 / 8 + 0.4 * np.hypot(3 / 8, 5 / 4), 5 / 4, 0])
    return close(step(cagrad, deltas, 0.4), expected, atol=1e-8)


def the_step_is_on_the_rim(cagrad: Callable[..., Any]) -> CheckResult:
    """By (3), ‖U − g_0‖ = c ‖g_0‖: more room always helps the one that gains least, unless the updates cancel."""
    mean = COUNTS / COUNTS.sum() @ CONFLICTING
    rooms = (0.1, 0.4, 0.9)
    got = [np.linalg.norm(step(cagrad, CONFLICTING, c) - mean) for c in rooms]
    return close(got, np.array(rooms) * np.linalg.norm(mean), atol=1e-9)


def the_least_gain_is_the_largest_possible(cagrad: Callable[..., Any]) -> CheckResult:
    """min_k ⟨u, Δ_k⟩ ≤ ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖ for every w of the simplex and every u in reach: a U that comes up to
    the least of the right side is the best. That least is sought on a grid of 1/400, which is 1e-5 off at most: the
    curvature there is about 2, times (1/400)²."""
    mean = COUNTS / COUNTS.sum() @ CONFLICTING
    i, j = np.meshgrid(np.arange(401), np.arange(401))
    inside = i + j <= 400
    w = np.stack([i[inside], j[inside], 400 - i[inside] - j[inside]], axis=1) / 400
    parts = []
    for c in (0.1, 0.4, 0.9):
        g = w @ CONFLICTING
        bound = (g @ mean + c * np.linalg.norm(mean) * np.linalg.norm(g, axis=1)).min()
        parts.append(close((CONFLICTING @ step(cagrad, CONFLICTING, c)).min(), bound, atol=2e-5))
    return every(*parts)


def size_does_not_matter(cagrad: Callable[..., Any]) -> CheckResult:
    """(3) has the same answer for updates of another size, times it: 10⁻⁵ and 10⁵."""
    expected = step(cagrad, CONFLICTING, 0.4)
    return every(*(close(step(cagrad, CONFLICTING * size, 0.4) / size, expected, atol=1e-6) for size in (1e-5, 1e5)))


def conflicts_are_recorded(cagrad: Callable[..., Any]) -> CheckResult:
    """``diagnostics`` has the cosines of the last round's updates, ⟨Δ_k, Δ_l⟩ / ‖Δ_k‖‖Δ_l‖, and 0 for an absent
    client: 4 of 2, 4, 9. Updates that cancel leave the trunk where it is."""
    deltas = {2: np.array([1.0, -0.5, 2.0]), 9: -np.array([1.0, -0.5, 2.0])}
    algorithm = cagrad()
    server = enrolled(algorithm, (2, 4, 9), {"trunk.w": torch.ones(3, dtype=torch.float64), "head.t.b": torch.zeros(1)})
    server = algorithm.aggregate(server, sent(algorithm, server, deltas, dict.fromkeys(deltas, 3)), CTX)
    expected = np.zeros((3, 3))
    expected[np.ix_([0, 2], [0, 2])] = cosine_matrix([*deltas.values()])
    trunk = algorithm.broadcast(server, 4, CTX)["trunk"]["trunk.w"]
    return every(
        close(trunk, np.ones(3), atol=1e-9), close(algorithm.diagnostics(server)["cosine"], expected, atol=1e-7)
    )


CHECKS = (
    with_no_room_it_is_fedper,
    one_client_goes_farther,
    two_by_hand,
    the_step_is_on_the_rim,
    the_least_gain_is_the_largest_possible,
    size_does_not_matter,
    conflicts_are_recorded,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(one_subspace, steps(lr=0.05))
