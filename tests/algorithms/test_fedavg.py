"""FedAvg: gradient descent on the federation's mean, central training when alone, heads for their owners only."""

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedAvg
from fedmtl.core.types import Upload
from fedmtl.verify.check import CTX
from fedmtl.verify.linear import LR, draw, gradient, loss_of, numbers, params_of, whole
from tests.algorithms.central import central_sgd, one_client
from tests.algorithms.rounds import personal, play, start
from tests.conftest import tiny_plan

ONCE = FedAvg(lr=LR, epochs=1)


def test_one_full_batch_step_is_gradient_descent_on_the_mean() -> None:
    """Σ p_k (w − η ∇f_k(w)) = w − η Σ p_k ∇f_k(w), with p = 5/40, 12/40, 23/40; the gradients are numpy's.

    An unweighted mean would be off by far more than 1e-12, as the last line shows.
    """
    clients = [draw(n, ("a",), seed) for seed, n in enumerate((5, 12, 23))]
    w = params_of([0.3, -0.7, 1.1], {"a": 0.2})
    uploads = [
        (k, ONCE.local_update(loss_of(("a",), 0.1), ONCE.broadcast(w, k, CTX), None, whole(x, y), CTX).upload)
        for k, (x, y) in enumerate(clients)
    ]
    slopes = [gradient(numbers(w), x, y, 0.1) for x, y in clients]
    for name, value in numbers(ONCE.aggregate(w, uploads, CTX)).items():
        mean = sum(len(x) / 40 * g[name] for (x, _), g in zip(clients, slopes, strict=True))
        np.testing.assert_allclose(value, numbers(w)[name] - LR * mean, rtol=0, atol=1e-12)
        unweighted = numbers(w)[name] - LR * sum(g[name] for g in slopes) / 3
        assert np.abs(value - unweighted).max() > 1e-3


@pytest.mark.parametrize("epochs", [1, 3])
def test_one_client_is_central_sgd_bit_for_bit(epochs: int) -> None:
    """Three rounds of mini-batches on two tasks: the mean of one client is that client."""
    federation = one_client()
    plan = tiny_plan(federation, FedAvg(lr=0.1, epochs=epochs))
    state = start(plan, federation)
    for round in (1, 2, 3):
        state = play(plan, federation, state, round)
    expected = central_sgd(plan, federation.clients[4], 4, lr=0.1, epochs=epochs, rounds=3)
    assert expected.keys() == plan.initial.keys()
    for name, value in personal(plan, federation, state)[4].items():
        assert torch.equal(value, expected[name])


def test_a_head_is_averaged_over_its_owners_only() -> None:
    """Client 0 (1 example) owns a, client 1 (3 examples) owns a and b, client 2 (4) owns b; nobody owns c.

    θ: (1·8 + 3·0 + 4·2) / 8 = 2.  a: (1·1 + 3·5) / 4 = 4.  b: (3·7 + 4·0) / 7 = 3.  c stays 9.
    """

    def scalars(**values: float) -> dict[str, torch.Tensor]:
        return {name.replace("_", "."): torch.tensor(value) for name, value in values.items()}

    server = scalars(trunk_w=-1.0, head_a_w=-1.0, head_b_w=-1.0, head_c_w=9.0)
    uploads = [
        (0, Upload({"model": scalars(trunk_w=8.0, head_a_w=1.0)}, 1.0)),
        (1, Upload({"model": scalars(trunk_w=0.0, head_a_w=5.0, head_b_w=7.0)}, 3.0)),
        (2, Upload({"model": scalars(trunk_w=2.0, head_b_w=0.0)}, 4.0)),
    ]
    expected = scalars(trunk_w=2.0, head_a_w=4.0, head_b_w=3.0, head_c_w=9.0)
    assert FedAvg().aggregate(server, uploads, CTX) == expected


def test_clients_keep_nothing() -> None:
    """Who is alike in what it hears predicts alike, whatever it did before."""
    x, y = draw(6, ("a",), 0)
    w = params_of(np.zeros(3), {"a": 0.0})
    assert FedAvg().init_client(w, 6) is None
    assert FedAvg().local_update(loss_of(("a",)), {"model": w}, None, whole(x, y), CTX).private is None
    assert FedAvg().personal_params({"model": w}, None) == w
