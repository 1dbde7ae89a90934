"""FedRep: the two phases by hand, and the subspace that it must find."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmtl.core.trees import tree_index
from fedmtl.core.types import Batch, LocalResult, Params, Payload
from fedmtl.verify.beats_local import EPOCHS, Claim
from fedmtl.verify.check import CTX, CheckResult, below, close, every
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.quadratic import Array, clients, play, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def phases_by_hand(fedrep: Callable[..., Any]) -> CheckResult:
    """Two rounds of 2 head epochs and 3 trunk epochs of 2 steps on quadratics: φ moves 4 steps with θ held, then θ 6
    steps with the new φ held, each by its own part of H (w − w*); then the weighted mean of θ."""
    federation, lr = clients(), 0.125
    found = play(fedrep(lr=lr, head_epochs=2, trunk_epochs=3), federation, START, 2, steps=2)
    w = np.stack([START] * 3)
    for _ in range(2):
        for one, own in zip(federation, w, strict=True):
            for _ in range(4):
                own[3:] -= lr * one.gradient(own)[3:]
            for _ in range(6):
                own[:3] -= lr * one.gradient(own)[:3]
        w[:, :3] = weights(federation) @ w[:, :3]
    return close(found.personal, w, atol=1e-12)


class Subspace:
    """V [d, k] orthonormal, heads U [n, k] with unit rows, inputs N(0, 1) [n, m, d], y = x V u without noise."""

    d, k, n, m = 20, 2, 100, 10

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.V: Array = np.linalg.qr(draw.standard_normal((self.d, self.k)))[0]
        heads = draw.standard_normal((self.n, self.k))
        heads /= np.linalg.norm(heads, axis=1, keepdims=True)
        self.x: Array = draw.standard_normal((self.n, self.m, self.d)) / self.m**0.5
        self.y: Array = np.einsum("nmd,dk,nk->nm", self.x, self.V, heads)
        self.start: Array = np.linalg.qr(draw.standard_normal((self.d, self.k)))[0]

    def distance(self, basis: Array) -> float:
        """The sine of the largest principal angle, ‖(I − B Bᵀ) V‖₂."""
        return float(np.linalg.norm(self.V - basis @ (basis.T @ self.V), 2))


def recipe(problem: Subspace, rounds: int) -> list[float]:
    """Numpy alone: each round exact heads by least squares, .01 of the summed gradient in B, QR."""
    basis, distances = problem.start, []
    for _ in range(rounds):
        total = np.zeros_like(basis)
        for x, y in zip(problem.x, problem.y, strict=True):
            head = np.linalg.lstsq(x @ basis, y, rcond=None)[0]
            total += np.outer(x.T @ (x @ basis @ head - y), head)
        basis = np.linalg.qr(basis - 0.01 * total)[0]
        distances.append(problem.distance(basis))
    return distances


def charted_loss(params: Params, batch: Batch) -> Tensor:
    """½ ‖x B h − y‖² with h = R⁻¹ g, where x B₀ = Q R at the round's first basis B₀; g is the head that is learnt.

    With B held at B₀ this is ½ ‖Q g − y‖², whose Hessian in g is the identity: one step of length 1 is exact.
    """
    head = batch["chart"] @ params["head.t.g"]
    return ((batch["x"] @ params["trunk.b"] @ head - batch["y"]) ** 2).sum() / 2


def subspace_distances(fedrep: Callable[..., Any], problem: Subspace, rounds: int) -> list[float]:
    """FedRep on the recipe's problem, its server's trunk made orthonormal between rounds.

    η = 1 makes the head exact; a step of η on each of n = 100 clients, and their mean, is .01 of the summed gradient.
    """
    algorithm = fedrep(lr=1.0, head_epochs=1, trunk_epochs=1)
    heads = {"head.t.g": torch.zeros(problem.n, problem.k, dtype=torch.float64)}
    batch = {
        "x": torch.from_numpy(problem.x),
        "y": torch.from_numpy(problem.y),
        "mask": torch.ones(problem.n, problem.m),
    }
    basis, distances = problem.start, []
    for _ in range(rounds):
        trunk = algorithm.init_server({"trunk.b": torch.from_numpy(basis)}, CTX)
        down: Payload = algorithm.broadcast(trunk, 0, CTX)
        charts = torch.from_numpy(np.linalg.inv(np.linalg.qr(problem.x @ basis)[1]))

        def update(head: Params, batch: Batch, down: Payload = down) -> LocalResult[Params]:
            return algorithm.local_update(charted_loss, down, head, [batch], CTX)

        results = torch.vmap(update)(heads, {**batch, "chart": charts})
        heads = results.private
        uploads = [(k, tree_index(results.upload, k)) for k in range(problem.n)]
        basis = np.linalg.qr(algorithm.aggregate(trunk, uploads, CTX)["trunk.b"].numpy())[0]
        distances.append(problem.distance(basis))
    return distances


def it_finds_the_subspace(fedrep: Callable[..., Any]) -> CheckResult:
    """d = 20, k = 2, n = 100 clients of m = 10 noiseless examples, from an angle whose sine is more than ½: linear
    convergence, to at most 1e-5 after 50 rounds and 1e-10 after 100.

    Exact heads: see ``charted_loss``. Numpy's own play of the recipe gives the same sine each round, to 1e-9.
    """
    problem = Subspace(0)
    found, expected = subspace_distances(fedrep, problem, 100), recipe(problem, 100)
    return every(
        close(min(problem.distance(problem.start), 0.5), 0.5, atol=0),
        close(found, expected, atol=1e-9),
        below(found[49], 1e-5),
        below(found[99], 1e-10),
    )


def the_head_moves_first(fedrep: Callable[..., Any]) -> CheckResult:
    """f = ½ (a h − 2)², η ½, from a = 1, h = 0: h = 0 − ½·1·(0 − 2) = 1, then a = 1 − ½·1·(1 − 2) = 1.5.

    Had the trunk seen the old head it would stay at 1; had the head seen the new trunk it would be 0.
    """

    def loss(params: Params, batch: Batch) -> Tensor:
        return (params["trunk.a"] * params["head.t.h"] - 2) ** 2 / 2

    algorithm = fedrep(lr=0.5, head_epochs=1, trunk_epochs=1)
    first = {"trunk.a": torch.tensor(1.0), "head.t.h": torch.tensor(0.0)}
    server, head = algorithm.init_server(first, CTX), algorithm.init_client(first, 1)
    result = algorithm.local_update(loss, algorithm.broadcast(server, 0, CTX), head, [{"mask": torch.ones(1)}], CTX)
    server = algorithm.aggregate(server, [(0, result.upload)], CTX)
    new = algorithm.personal_params(algorithm.broadcast(server, 0, CTX), result.private)
    return close([new["trunk.a"], new["head.t.h"]], [1.5, 1.0], atol=0)


CHECKS = (phases_by_hand, it_finds_the_subspace, the_head_moves_first)

GAIN = Claim(one_subspace, lambda cls: cls(lr=0.03, head_epochs=20, trunk_epochs=EPOCHS))
