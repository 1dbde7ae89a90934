"""Local against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.central import alone, central_vector
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.linear import draw, loss_of, minimum, numbers, params_of, whole
from fedmtl.verify.quadratic import clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def it_ends_at_the_ridge_solution(local: Callable[..., Any]) -> CheckResult:
    """Linear regression of two tasks with shared slopes, ridge 0.1: the minimum solves the normal equations.

    The eigenvalues of their matrix are between 0.1 and 1.8 here, so with η ½ the error shrinks by 1 − η λ ≤ 0.95 a
    step: 400 steps leave 1.3e-9 of it.
    """
    tasks, found = ("a", "b"), []
    algorithm = local(lr=0.5, epochs=10)
    for client, n in enumerate((20, 40)):
        x, y = draw(n, tasks, client)
        w = algorithm.init_client(params_of(np.zeros(3), dict.fromkeys(tasks, 0.0)), n)
        for _ in range(40):
            w = algorithm.local_update(
                loss_of(tasks, 0.1), algorithm.broadcast(None, client, CTX), w, whole(x, y), CTX
            ).private
        got, best = numbers(algorithm.personal_params({}, w)), minimum(x, y, 0.1)
        found += [close(got[name], value, atol=1e-7) for name, value in best.items()]
    return every(*found)


def steps_by_hand(local: Callable[..., Any]) -> CheckResult:
    """3 rounds of 2 epochs of 2 steps are 12 steps w − η H (w − w*) of each client on its own quadratic."""
    federation, lr = clients(), 0.125
    found = play(local(lr=lr, epochs=2), federation, START, 3, steps=2)
    ends = []
    for one in federation:
        w = START
        for _ in range(12):
            w = w - lr * one.gradient(w)
        ends.append(w)
    return close(found.personal, np.stack(ends), atol=1e-12)


def it_is_central_training_of_each(local: Callable[..., Any]) -> CheckResult:
    """Bit for bit what torch's autograd comes to in as many steps from the same start."""
    found = play(local(lr=0.125, epochs=2), [alone()], START, 3, steps=2)
    return same_bits(found.personal[0], central_vector(alone(), START, 2, 0.125, 6))


def clients_are_independent(local: Callable[..., Any]) -> CheckResult:
    """Nothing is uploaded, and client 0 has the same bits when the other clients' data change."""
    federation = clients()
    others = [federation[0], *(one._replace(star=-one.star) for one in federation[1:])]
    one, other = (play(local(lr=0.125, epochs=2), group, START, 2) for group in (federation, others))
    said = sum(len(upload.payload) for _, upload in one.uploads)
    return every(close(said, 0, atol=0), same_bits(one.personal[0], other.personal[0]))


CHECKS = (
    it_ends_at_the_ridge_solution,
    steps_by_hand,
    it_is_central_training_of_each,
    clients_are_independent,
)

GAIN = "it is what the others are compared with"
"""No claim, for this reason."""
