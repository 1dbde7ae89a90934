"""FedPer: gradient descent on the federation's mean in the trunk, and heads that stay at home."""

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedPer
from fedmtl.data.base import Federation
from fedmtl.verify.check import CTX
from fedmtl.verify.linear import LR, draw, gradient, loss_of, numbers, params_of, whole
from tests.algorithms.central import central_sgd, one_client
from tests.algorithms.rounds import jobs, personal, play, start
from tests.conftest import tiny_plan


def test_one_full_batch_step_is_gradient_descent_on_the_mean_in_theta() -> None:
    """θ − η Σ p_k ∇_θ f_k(θ, φ_k), with p = 5/40, 12/40, 23/40, and φ_k − η ∇_φ f_k(θ, φ_k) at home.

    The clients own a, b, and both; their heads differ before the step, and two of them have the same task. The
    gradients are numpy's.
    """
    once = FedPer(lr=LR, epochs=1)
    owned = [("a",), ("b",), ("a", "b")]
    heads = [{"a": 0.5}, {"b": -0.4}, {"a": 1.5, "b": 0.1}]
    clients = [draw(n, tasks, seed) for seed, (n, tasks) in enumerate(zip((5, 12, 23), owned, strict=True))]
    starts = [params_of([0.3, -0.7, 1.1], head) for head in heads]
    theta = once.init_server(starts[0], CTX)
    results = [
        once.local_update(
            loss_of(tasks, 0.1),
            once.broadcast(theta, k, CTX),
            once.init_client(w, len(x)),
            whole(x, y),
            CTX,
        )
        for k, (tasks, w, (x, y)) in enumerate(zip(owned, starts, clients, strict=True))
    ]
    slopes = [gradient(numbers(w), x, y, 0.1) for w, (x, y) in zip(starts, clients, strict=True)]
    new = numbers(once.aggregate(theta, [(k, result.upload) for k, result in enumerate(results)], CTX))
    assert new.keys() == {"trunk.theta"}
    mean = sum(n / 40 * g["trunk.theta"] for n, g in zip((5, 12, 23), slopes, strict=True))
    np.testing.assert_allclose(new["trunk.theta"], np.array([0.3, -0.7, 1.1]) - LR * mean, rtol=0, atol=1e-12)
    for tasks, w, g, result in zip(owned, starts, slopes, results, strict=True):
        head = numbers(result.private)
        assert head.keys() == {f"head.{task}.b" for task in tasks}
        for name, value in head.items():
            np.testing.assert_allclose(value, numbers(w)[name] - LR * g[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("epochs", [1, 3])
def test_one_client_is_central_sgd_bit_for_bit(epochs: int) -> None:
    """Three rounds of mini-batches on two tasks; the head comes from the client's own keeping each time."""
    federation = one_client()
    plan = tiny_plan(federation, FedPer(lr=0.1, epochs=epochs))
    state = start(plan, federation)
    for round in (1, 2, 3):
        state = play(plan, federation, state, round)
    expected = central_sgd(plan, federation.clients[4], 4, lr=0.1, epochs=epochs, rounds=3)
    found = personal(plan, federation, state)[4]
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name])


def test_heads_of_one_task_part_and_the_server_has_none(alike: Federation) -> None:
    plan = tiny_plan(alike, FedPer())
    before = start(plan, alike)
    after = play(plan, alike, before)
    assert after.server.keys() == before.server.keys() == {n for n in plan.initial if n.startswith("trunk.")}
    assert all(name.startswith("trunk.") for job in jobs(plan, alike, after) for name in job.down["trunk"])
    for name in before.private[0]:
        assert torch.equal(before.private[0][name], before.private[9][name])
        assert not torch.equal(after.private[0][name], after.private[9][name])


def test_who_stays_away_keeps_its_head_and_hears_the_new_trunk(alike: Federation) -> None:
    plan = tiny_plan(alike, FedPer())
    before = start(plan, alike)
    after = play(plan, alike, before, cohort=[0, 4])
    was, now = personal(plan, alike, before)[9], personal(plan, alike, after)[9]
    for name in was:
        assert torch.equal(was[name], now[name]) is name.startswith("head.")
