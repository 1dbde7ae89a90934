"""Pooled: the union's optimum, and FedAvg with one client that owns everything."""

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedAvg, Pooled
from fedmtl.data.base import Federation
from fedmtl.registry.components import REGISTRY, make
from fedmtl.verify.check import CTX
from fedmtl.verify.linear import draw, gradient, loss_of, minimum, numbers, params_of, whole
from tests.algorithms.rounds import personal, play, start, union
from tests.conftest import tiny_plan


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_pooled_converges_to_the_closed_form_of_the_union(ridge: float) -> None:
    """Three clients with tasks a, b and both: shared slopes, two offsets, labels that others lack are NaN.

    As in Local's test, 400 steps leave less than 1.3e-9 of the error.
    """
    parts = [(draw(8, ("a",), 0), ("a",)), (draw(20, ("b",), 1), ("b",)), (draw(12, ("a", "b"), 2), ("a", "b"))]
    x = np.concatenate([part[0] for part, _ in parts])
    y = {task: np.concatenate([part[1].get(task, np.full(len(part[0]), np.nan)) for part, _ in parts]) for task in "ab"}
    pooled = Pooled(lr=0.5, epochs=10)
    w = pooled.init_server(params_of(np.zeros(3), {"a": 0.0, "b": 0.0}), CTX)
    for _ in range(40):
        result = pooled.local_update(loss_of("ab", ridge), pooled.broadcast(w, 0, CTX), None, whole(x, y), CTX)
        w = pooled.aggregate(w, [(0, result.upload)], CTX)
    best = minimum(x, y, ridge)
    assert max(float(np.abs(g).max()) for g in gradient(best, x, y, ridge).values()) < 1e-12
    for name, value in numbers(pooled.personal_params(pooled.broadcast(w, 0, CTX), None)).items():
        np.testing.assert_allclose(value, best[name], atol=1e-7)


def test_pooled_is_fedavg_with_one_client_bit_for_bit(federation: Federation) -> None:
    """Three rounds of a network on all tasks at once, in shuffled mini-batches."""
    together = union(federation)
    plans = [tiny_plan(together, algorithm) for algorithm in (Pooled(lr=0.2, epochs=2), FedAvg(lr=0.2, epochs=2))]
    states = [start(plan, together) for plan in plans]
    for round in (1, 2, 3):
        states = [play(plan, together, state, round) for plan, state in zip(plans, states, strict=True)]
    pooled, fedavg = (personal(plan, together, state)[0] for plan, state in zip(plans, states, strict=True))
    assert pooled.keys() == fedavg.keys() == plans[0].initial.keys()
    for name in pooled:
        assert torch.equal(pooled[name], fedavg[name])
        assert not torch.equal(pooled[name], plans[0].initial[name])


def test_pooled_is_central() -> None:
    """The mark by which the server knows that raw data is to be gathered; no other algorithm bears it."""
    assert Pooled.traits.centralized
    assert [name for name in REGISTRY["algorithm"] if make("algorithm", name).traits.centralized] == ["Pooled"]
