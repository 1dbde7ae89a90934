"""FedRep: the two phases by hand, and the subspace that it must find."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms import FedPer, FedRep
from fedmtl.core.types import Batch, Params
from fedmtl.data.batches import make_batches
from fedmtl.engines import VMap
from fedmtl.verify.check import CTX
from tests.engines.jobs import Job, run

Array = NDArray[np.float64]


def product_loss(params: Params, batch: Batch) -> Tensor:
    """½ (a h x − y)², a mean over the real rows: ∂h = a x (a h x − y), ∂a = h x (a h x − y)."""
    error = params["trunk.a"] * params["head.t.h"] * batch["x"] - batch["y.t"]
    return (error**2 * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1) / 2


def once(algorithm: FedRep | FedPer, a: float, h: float) -> tuple[float, float]:
    """(a, h) after a client's round on the one example x = 1, y = 2; the second example is padding."""
    batches = make_batches(np.ones(1, np.float32), {"t": np.full(1, 2.0, np.float32)}, 2, None)
    down = {"trunk": {"trunk.a": torch.tensor(a)}}
    result = algorithm.local_update(product_loss, down, {"head.t.h": torch.tensor(h)}, batches, CTX)
    assert result.private.keys() == {"head.t.h"} and result.upload.payload["trunk"].keys() == {"trunk.a"}
    return result.upload.payload["trunk"]["trunk.a"].item(), result.private["head.t.h"].item()


def test_phases_by_hand() -> None:
    """η ½, from a = 1, h = 0, so that the trunk has no gradient before the head has moved.

    One epoch each: h = 0 − ½·1·(0 − 2) = 1, then a = 1 − ½·1·(1·1 − 2) = 1.5. Had the trunk seen the old head, it
    would stay at 1: so does FedPer's.
    """
    assert once(FedRep(lr=0.5, head_epochs=1, trunk_epochs=1), 1.0, 0.0) == (1.5, 1.0)
    assert once(FedPer(lr=0.5, epochs=1), 1.0, 0.0) == (1.0, 1.0)


def test_epochs_of_both_phases_by_hand() -> None:
    """Two of each. Head: 0 → 1 → 1 − ½·1·(1 − 2) = 1.5, with a held at 1.

    Trunk, h held at 1.5: 1 → 1 − ½·1.5·(1.5 − 2) = 1.375 → 1.375 − ½·1.5·(2.0625 − 2) = 1.328125.
    """
    assert once(FedRep(lr=0.5, head_epochs=2, trunk_epochs=1), 1.0, 0.0) == (1.375, 1.5)
    assert once(FedRep(lr=0.5, head_epochs=1, trunk_epochs=2), 1.0, 0.0) == (1.75, 1.0)  # 1.5 − ½·1·(1.5 − 2)
    assert once(FedRep(lr=0.5, head_epochs=2, trunk_epochs=2), 1.0, 0.0) == (1.328125, 1.5)


def test_the_head_is_fitted_to_the_received_trunk() -> None:
    """The same head hears of a = 2 and of a = ½ (η ½): h = ½·2·2 = 2 and h = ½·½·2 = ½.

    Then a = 2 − ½·2·(4 − 2) = 0 and a = ½ − ½·½·(¼ − 2) = 0.9375.
    """
    fedrep = FedRep(lr=0.5, head_epochs=1, trunk_epochs=1)
    assert once(fedrep, 2.0, 0.0) == (0.0, 2.0)
    assert once(fedrep, 0.5, 0.0) == (0.9375, 0.5)


class Subspace:
    """V [d, k] orthonormal, heads U [n, k] with unit rows, inputs N(0, 1) [n, m, d], y = x V u without noise.

    With A_k = X_k / √m, ½ ‖A_k B h − y_k / √m‖² is ½ the mean square of client k's m examples.
    """

    d, k, n, m = 20, 2, 100, 10

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.V: Array = np.linalg.qr(draw.standard_normal((self.d, self.k)))[0]
        heads = draw.standard_normal((self.n, self.k))
        heads /= np.linalg.norm(heads, axis=1, keepdims=True)
        self.x = draw.standard_normal((self.n, self.m, self.d))
        self.y = np.einsum("nmd,dk,nk->nm", self.x, self.V, heads)
        self.start: Array = np.linalg.qr(draw.standard_normal((self.d, self.k)))[0]

    def distance(self, basis: Array) -> float:
        """The sine of the largest principal angle, ‖(I − B Bᵀ) V‖₂."""
        return float(np.linalg.norm(self.V - basis @ (basis.T @ self.V), 2))


def orthonormal(basis: Array) -> Array:
    """Q of B = Q R with a positive diagonal of R, so that heads still fit."""
    q, r = np.linalg.qr(basis)
    return q * np.sign(np.diag(r))


def recipe(problem: Subspace, rounds: int) -> list[Array]:
    """Numpy alone: each round exact heads by least squares, .01 of the summed gradient in B, QR."""
    basis, bases = problem.start, []
    for _ in range(rounds):
        total = np.zeros_like(basis)
        for x, y in zip(problem.x, problem.y, strict=True):
            head = np.linalg.lstsq(x @ basis, y, rcond=None)[0]
            total += np.outer(x.T @ (x @ basis @ head - y), head) / problem.m
        basis = orthonormal(basis - 0.01 * total)
        bases.append(basis)
    return bases


def test_the_recipe_finds_the_subspace() -> None:
    """≤ 1e-5 after 50 rounds and ≤ 1e-10 after 100, from more than ½: what the class is measured against below."""
    problem = Subspace(0)
    distances = [problem.distance(basis) for basis in recipe(problem, 100)]
    assert problem.distance(problem.start) > 0.5
    assert distances[49] <= 1e-5 and distances[99] <= 1e-10


ROUNDS = 50
STEP = 0.5
"""η of both phases. Curvatures of the heads' problems, eigenvalues of BᵀXᵀXB/m, are below 4: ½ is a stable step."""
SCALE = (0.01 * Subspace.n / STEP) ** 0.5
"""The trunk holds P = B / s. A step of η in P is one of η s² in B, and the server's mean is 1/n of the recipe's sum:
s² = .01 n / η makes the two alike."""


def subspace_loss(params: Params, batch: Batch) -> Tensor:
    error = batch["x"] @ (SCALE * params["trunk.p"]) @ params["head.t.h"] - batch["y.t"]
    return (error**2 * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1) / 2


def play(problem: Subspace, algorithm: FedRep | FedPer, rounds: int) -> tuple[list[Array], list[Array]]:
    """The trunk after each round, and the heads' last state; the server's trunk is made orthonormal between rounds."""
    update = partial(algorithm.local_update, subspace_loss)
    batches = [make_batches(x, {"t": y}, None, None) for x, y in zip(problem.x, problem.y, strict=True)]
    heads: list[Params] = [{"head.t.h": torch.zeros(problem.k, dtype=torch.float64)}] * problem.n
    basis, bases, engine = problem.start, [], VMap(chunk=problem.n)
    for _ in range(rounds):
        trunk = {"trunk.p": torch.from_numpy(basis / SCALE)}
        down = algorithm.broadcast(trunk, 0, CTX)
        work = [Job(c, update, down, heads[c], batches[c], ("t",)) for c in range(problem.n)]
        results = run(engine, work)
        heads = [result.private for result in results]
        trunk = algorithm.aggregate(trunk, [(c, result.upload) for c, result in enumerate(results)], CTX)
        basis = orthonormal(SCALE * trunk["trunk.p"].numpy())
        bases.append(basis)
    return bases, [head["head.t.h"].numpy() for head in heads]


def test_fedrep_finds_the_subspace_as_the_recipe_does() -> None:
    """The same start, data and trunk step as the recipe, but for the heads 60 gradient steps instead of least squares.

    Heads start where they were, and the QR leaves them fitting; so they become exact as the trunk settles (1e-6 by
    round 50), and the principal angle goes with the recipe's within 1 % in every round.
    """
    problem = Subspace(0)
    bases, heads = play(problem, FedRep(lr=STEP, head_epochs=60, trunk_epochs=1), ROUNDS)
    for basis, expected in zip(bases, recipe(problem, ROUNDS), strict=True):
        assert problem.distance(basis) == pytest.approx(problem.distance(expected), rel=0.01)
    assert problem.distance(bases[-1]) <= 1e-5
    for x, y, head in zip(problem.x, problem.y, heads, strict=True):
        np.testing.assert_allclose(head, np.linalg.lstsq(x @ bases[-2], y, rcond=None)[0], atol=1e-6)


def test_heads_that_are_not_fitted_first_are_slower() -> None:
    """So the test above sees the phases: one epoch of both parameters together, or one of the head, is not enough."""
    problem = Subspace(0)
    for algorithm in (FedPer(lr=STEP, epochs=1), FedRep(lr=STEP, head_epochs=1, trunk_epochs=1)):
        bases, _ = play(problem, algorithm, ROUNDS)
        assert problem.distance(bases[-1]) > 1e-4, algorithm
