"""ServerPCGrad against vectors worked by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.fedper import FedPer
from fedmtl.core.context import context_of
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, above, below, close, every
from fedmtl.verify.fixed_updates import LR, cosine_matrix, enrolled, planted, sent
from fedmtl.verify.noise import server_generator
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.quadratic import Array, clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def without_a_conflict_it_is_fedper(pcgrad: Callable[..., Any]) -> CheckResult:
    """Vectors of non-negative numbers never conflict, so (3) leaves each as it is and (4) is the mean; in a cohort of
    one there is no other to conflict with, for 3 rounds of 2 epochs of 2 steps."""
    agreeing = planted([[1, 0, 2, 1, -1], [0, 3, 1, -2, 0], [1, 1, 0, 0, 1]], [6, 10, 4])
    parts = []
    for federation, start, rounds, epochs, lr in ((agreeing, np.zeros(5), 1, 1, LR), (clients(1), START, 3, 2, 0.125)):
        got, expected = (
            play(a(lr=lr, epochs=epochs), federation, start, rounds, steps=epochs).personal for a in (pcgrad, FedPer)
        )
        parts.append(close(got, expected, atol=1e-12))
    return every(*parts)


def two_by_hand(pcgrad: Callable[..., Any]) -> CheckResult:
    """Δ_1 = (1, 0, 0) and Δ_2 = (−1, 1, 0), so ⟨Δ_1, Δ_2⟩ = −1, ‖Δ_1‖² = 1, ‖Δ_2‖² = 2:

    u_1 = Δ_1 + ½ Δ_2 = (½, ½, 0), u_2 = Δ_2 + Δ_1 = (0, 1, 0). Of 6 and 10 examples: ⅜ u_1 + ⅝ u_2.
    """
    federation = planted([[1, 0, 0, 5, 0], [-1, 1, 0, 0, 7]], [6, 10])
    found = play(pcgrad(lr=LR, epochs=1), federation, np.zeros(5), 1)
    trunk = [3 / 16, 3 / 16 + 5 / 8, 0]
    return close(found.personal, [[*trunk, 5, 0], [*trunk, 0, 7]], atol=1e-12)


def projected(deltas: Array, orders: tuple[tuple[int, ...], ...]) -> Array:
    """The paper's loop on the vectors themselves; the plain mean."""
    found = []
    for delta, order in zip(deltas, orders, strict=True):
        u = delta.copy()
        for j in order:
            if u @ deltas[j] < 0:
                u -= (u @ deltas[j]) / (deltas[j] @ deltas[j]) * deltas[j]
        found.append(u)
    return np.mean(found, axis=0)


def three_meet_in_the_order_drawn(pcgrad: Callable[..., Any]) -> CheckResult:
    """Three vectors that all conflict, in 12 rounds of each of two seeds: the paper's loop, in the orders that numpy's
    generator gives for the words of Philox with the key (seed) and the counter (round, server, 0, 2) and the hash of
    "order", client after client. They are several of the 2³ choices of orders, and others with the other seed."""
    deltas = np.array([[1.0, 0.2, 0.1], [-0.7, 1.0, -0.3], [-0.2, -1.0, 1.0]])
    algorithm, farthest, drawn = pcgrad(), 0.0, []
    params = {"trunk.w": torch.zeros(3, dtype=torch.float64), "head.t.b": torch.zeros(1)}
    for seed in (0, 2**40 + 7):
        server, last = enrolled(algorithm, (0, 1, 2), params), np.zeros(3)
        for round in range(12):
            draw, ctx = server_generator(seed, round, ("order",)), context_of(seed, round)
            orders = tuple(tuple(draw.permutation(others).tolist()) for others in ([1, 2], [0, 2], [0, 1]))
            uploads = sent(algorithm, server, dict(enumerate(deltas)), dict.fromkeys(range(3), 5))
            server = algorithm.aggregate(server, uploads, ctx)
            now = algorithm.broadcast(server, 0, ctx)["trunk"]["trunk.w"].numpy()
            farthest = max(farthest, float(np.abs(now - last - projected(deltas, orders)).max()))
            last = now
            drawn.append(orders)
    return every(below(farthest, 1e-12), above(len(set(drawn[:12])), 1), above(float(drawn[:12] != drawn[12:]), 0))


def conflicts_are_recorded(pcgrad: Callable[..., Any]) -> CheckResult:
    """``diagnostics`` has the cosines of the last round's updates, ⟨Δ_k, Δ_l⟩ / ‖Δ_k‖‖Δ_l‖, and 0 for a client
    that was absent or did not move: all but 2 and 9 of 2, 4, 7, 9, where 7 stands still."""
    deltas = {2: np.array([1.0, 0.0, 1.0]), 7: np.zeros(3), 9: np.array([-1.0, 2.0, 0.0])}
    algorithm = pcgrad()
    params = {"trunk.w": torch.zeros(3, dtype=torch.float64), "head.t.b": torch.zeros(1)}
    server = enrolled(algorithm, (2, 4, 7, 9), params)
    server = algorithm.aggregate(server, sent(algorithm, server, deltas, dict.fromkeys(deltas, 3)), CTX)
    expected = np.zeros((4, 4))
    expected[np.ix_([0, 3], [0, 3])] = cosine_matrix([deltas[2], deltas[9]])
    return close(algorithm.diagnostics(server)["cosine"], expected, atol=1e-7)


CHECKS = (
    without_a_conflict_it_is_fedper,
    two_by_hand,
    three_meet_in_the_order_drawn,
    conflicts_are_recorded,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(one_subspace, steps(lr=0.05))
