"""MOCHA on real data: to the number of the recipe in ALGORITHMS.md, and to that of a solver that is not ours."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.optimize
import torch

from fedmtl.algorithms import Mocha
from fedmtl.algorithms.base import first_server
from fedmtl.core.context import context_of
from fedmtl.core.trees import tree_index, tree_stack
from fedmtl.verify.check import CTX
from fedmtl.verify.mocha import FIXED, HEAD, Client, Solved, bounds, means, planted, solve


@pytest.fixture(scope="module")
def landmine() -> list[Client]:
    """29 fields of 9 features, labels ±1."""
    folder = os.environ.get("FEDMTL_DATA")
    if not folder:
        pytest.skip("FEDMTL_DATA is not set: the folder with landmine_small/small.mat")
    path = Path(folder) / "landmine_small" / "small.mat"
    if not path.exists():
        pytest.skip(f"{path} does not exist")
    file = scipy.io.loadmat(str(path))
    fields = zip(file["X"].reshape(-1), file["Y"].reshape(-1), strict=True)
    return [Client(np.asarray(x, np.float64), np.asarray(y, np.float64).reshape(-1)) for x, y in fields]


def least(tasks: list[Client], lam: float) -> float:
    """max D(α) for Σ = I/T by L-BFGS-B on β = yα in its box: task by task, because nothing joins them.

    D_t(β) = mean β_i − ‖Zᵀβ/n‖² / 2λT with Z = yx, whose slope is 1/n − Z(Zᵀβ/n) / nλT.
    """
    total, count = 0.0, len(tasks)
    for task in tasks:
        z, n = task.y[:, None] * task.x, len(task.x)

        def negative(beta: Any, z: Any = z, n: int = n) -> tuple[float, Any]:
            b = z.T @ beta / n
            return float(b @ b / 2 / lam / count - beta.mean()), z @ b / n / lam / count - 1 / n

        found = scipy.optimize.minimize(
            negative, np.zeros(n), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * n,
            options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        total -= float(found.fun)
    return total


def test_landmine_unrelated(landmine: list[Client]) -> None:
    """Σ = I/29 held, λ = 0.1, Σ_t mean hinge: primal = dual = 27.532037335, as in the recipe of ALGORITHMS.md."""
    assert len(landmine) == 29
    solved = solve(Mocha(lam=0.1, epochs=2, sigma_every=FIXED), landmine, 8, batch_size=None)
    primal, dual = bounds(landmine, solved, 0.1)
    assert primal == pytest.approx(27.532037335, abs=1e-8)
    assert dual == pytest.approx(27.532037335, abs=1e-8)


@pytest.mark.parametrize("lam", [0.01, 0.03, 0.3])
def test_other_strengths_against_scipy(lam: float) -> None:
    """On the planted tasks: both bounds are where L-BFGS-B ends, to its tolerance."""
    tasks = planted()
    primal, dual = bounds(tasks, solve(Mocha(lam=lam, epochs=20, sigma_every=FIXED), tasks, 20), lam)
    assert primal == pytest.approx(least(tasks, lam), abs=1e-6)
    assert dual == pytest.approx(least(tasks, lam), abs=1e-6)


def test_other_strengths_on_landmine(landmine: list[Client]) -> None:
    lam = 0.02
    solved = solve(Mocha(lam=lam, epochs=4, sigma_every=FIXED), landmine, 8, batch_size=None)
    primal, dual = bounds(landmine, solved, lam)
    expected = least(landmine, lam)
    assert primal == pytest.approx(expected, abs=1e-4) and dual == pytest.approx(expected, abs=1e-4)


def together(mocha: Mocha, tasks: list[Client], rounds: int, watch: Callable[[Solved], None]) -> None:
    """As ``solve``, all tasks in one go: the shorter ones are filled up with examples that have no label."""
    sizes = [len(task.x) for task in tasks]
    longest = max(sizes)
    filled = [(longest - n, task) for n, task in zip(sizes, tasks, strict=True)]
    batch = {
        "x": np.stack([np.pad(task.x, ((0, more), (0, 0))) for more, task in filled]),
        "y.t": np.stack([np.pad((task.y + 1) / 2, (0, more), constant_values=np.nan) for more, task in filled]),
        "mask": np.ones((len(tasks), longest), np.float32),
        "index": np.tile(np.arange(longest), (len(tasks), 1)),
    }
    batches = [{key: torch.from_numpy(value) for key, value in batch.items()}]
    first = {HEAD: torch.zeros(1, tasks[0].x.shape[1], dtype=torch.float64)}
    server = first_server(mocha, first, dict.fromkeys(range(len(tasks)), first), CTX)
    private = tree_stack([mocha.init_client(first, longest)] * len(tasks))
    update = torch.vmap(lambda d, p, b: mocha.local_update(lambda *_: torch.zeros(()), d, p, b, CTX))
    for round in range(rounds):
        result = update(tree_stack([mocha.broadcast(server, t, CTX) for t in range(len(tasks))]), private, batches)
        private = result.private
        server = mocha.aggregate(
            server, [(t, tree_index(result.upload, t)) for t in range(len(tasks))], context_of(round=round)
        )
        alpha = [values.numpy()[:n] for values, n in zip(private[HEAD], sizes, strict=True)]
        watch(Solved(server, alpha, np.stack([server.w[str(t)][HEAD].numpy()[0] for t in range(len(tasks))])))


def test_landmine_related(landmine: list[Client]) -> None:
    """Σ learnt after rounds 80 and 160: P − D is never below 0 and ends below 1e-3; P ends below that of I/T."""
    gaps, primals, rounds = [], [], []

    def watch(solved: Solved) -> None:
        primal, dual = bounds(landmine, solved, 0.1)
        gaps.append(primal - dual)
        primals.append(primal)
        rounds.append(solved)

    together(Mocha(lam=0.1, epochs=1, sigma_every=80, floor=0.05), landmine, 239, watch)
    solved = rounds[-1]
    assert min(gaps) > -1e-6
    assert gaps[-1] < 1e-3
    assert primals[-1] < 24.1
    uploaded = np.stack([solved.server.b[str(t)][HEAD].numpy()[0] for t in range(29)])
    np.testing.assert_allclose(uploaded, means(landmine, solved.alpha), atol=1e-12)


def test_what_it_is_not_for_is_named() -> None:
    """A trunk, an intercept, several outputs: each is refused by its name, before anybody trains."""
    good = {HEAD: torch.zeros(1, 3)}
    Mocha().init_server(good, CTX)
    for name, value in (
        ("trunk.1.weight", torch.zeros(1, 3)),
        ("head.t.bias", torch.zeros(1)),
        ("head.u.weight", torch.zeros(2, 3)),
    ):
        with pytest.raises(ValueError, match=rf"Linear\(intercept=False\) and binary tasks, got {name}"):
            Mocha().init_server({**good, name: value}, CTX)


def test_who_has_not_trained_can_still_learn() -> None:
    """Σ_tt = κ/T for a task that W does not have yet; with κ = 0 it is 0, and so is the task's model for ever."""
    for floor, learns in ((0.01, True), (0.0, False)):
        mocha = Mocha(floor=floor)
        first = {HEAD: torch.zeros(1, 3)}
        server = mocha.register_clients(mocha.init_server(first, CTX), {0: first, 1: first})
        batch = {"x": torch.eye(3), "y.t": torch.ones(3), "mask": torch.ones(3), "index": torch.arange(3)}
        for client in (0, 1, 1):
            told = mocha.broadcast(server, client, CTX)
            result = mocha.local_update(lambda *_: torch.zeros(()), told, mocha.init_client(first, 3), [batch], CTX)
            server = mocha.aggregate(server, [(client, result.upload)], CTX)
        assert all(torch.isfinite(server.w[str(t)][HEAD]).all() for t in (0, 1))
        assert bool(server.w["1"][HEAD].any()) is learns
