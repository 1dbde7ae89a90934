"""Local: each client alone ends at its own optimum."""

import numpy as np
import pytest
import torch

from fedmtl.algorithms import Local
from fedmtl.verify.check import CTX
from fedmtl.verify.linear import draw, gradient, loss_of, minimum, numbers, params_of, whole


@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("tasks", [("a",), ("a", "b")])
def test_local_converges_to_the_closed_form(ridge: float, tasks: tuple[str, ...]) -> None:
    """Least squares and ridge, for three clients of 8, 20 and 40 examples; 20 rounds of 10 full-batch steps.

    Curvatures λ, the eigenvalues of the normal equations' matrix, are between 0.1 and 1.8 here. With η 1 the error
    shrinks by |1 − η λ| ≤ 0.9 a step, so 200 steps leave 7e-10 of it.
    """
    local = Local(lr=1.0, epochs=10)
    optima = []
    for seed, n in enumerate((8, 20, 40)):
        x, y = draw(n, tasks, seed)
        w = local.init_client(params_of(np.zeros(3), dict.fromkeys(tasks, 0.0)), n)
        for _ in range(20):
            w = local.local_update(loss_of(tasks, ridge), local.broadcast(None, seed, CTX), w, whole(x, y), CTX).private
        best = minimum(x, y, ridge)
        assert max(float(np.abs(g).max()) for g in gradient(best, x, y, ridge).values()) < 1e-12
        for name, value in numbers(local.personal_params({}, w)).items():
            np.testing.assert_allclose(value, best[name], atol=1e-7)
        optima.append(best["trunk.theta"])
    assert np.abs(optima[0] - optima[1]).max() > 0.1 < np.abs(optima[1] - optima[2]).max()


def test_local_says_nothing() -> None:
    x, y = draw(6, ("a",), 0)
    local = Local()
    w = local.init_client(params_of(np.zeros(3), {"a": 0.0}), 6)
    assert local.init_server(w, CTX) is None and local.broadcast(None, 0, CTX) == {}
    result = local.local_update(loss_of(("a",)), {}, w, whole(x, y), CTX)
    assert result.upload.payload == {} and result.upload.num_examples == 6
    assert local.aggregate(None, [(0, result.upload)], CTX) is None


def test_local_ignores_what_it_is_told() -> None:
    x, y = draw(6, ("a",), 0)
    w = params_of(np.zeros(3), {"a": 0.0})
    told = {"model": {name: value + 1 for name, value in w.items()}}
    a, b = (Local().local_update(loss_of(("a",)), down, w, whole(x, y), CTX).private for down in ({}, told))
    assert all(torch.equal(a[name], b[name]) for name in w)
    assert Local().personal_params(told, w) is w
