"""Clients whose losses are quadratic in one adapted weight and in a head: a problem for golden checks of adapters.

    f_k(A, B, φ) = ½ ‖E_k‖² + ½ ‖φ − φ*_k‖²,     E_k = W + s (B A + M) − T_k                                  (1)
    ∂f_k/∂A = s Bᵀ E_k,     ∂f_k/∂B = s E_k Aᵀ,     ∂f_k/∂φ = φ − φ*_k                                        (2)

W is 0. With p_k = n_k / Σ n, a server that averages factors is off the mean of the products by their covariance:

    B̄ Ā − Σ p_k B_k A_k = −Σ p_k (B_k − B̄)(A_k − Ā)                                                          (3)
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.core import adapters
from fedmtl.core.context import Context, context_of
from fedmtl.core.types import Batch, Params, Upload
from fedmtl.verify.check import CTX, CheckResult, above, close, every
from fedmtl.verify.quadratic import Array, Quadratic

WEIGHT = "trunk.w"
A, B, MERGED = (WEIGHT + end for end in (adapters.A, adapters.B, adapters.MERGED))
HEAD = "head.t.b"
OUT, IN, RANK = 4, 5, 2
SCALE = 1.5
"""s."""
LR = 0.125


class AdaptedClient(NamedTuple):
    """A client of (1)."""

    target: Array
    """T_k [OUT, IN]."""
    star: Array
    """φ*_k [3]."""
    num_examples: int

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """(1)."""
        update = params[B] @ params[A] + params.get(MERGED, torch.zeros(()))
        gap = SCALE * update - torch.as_tensor(self.target)
        return (gap.square().sum() + (params[HEAD] - torch.as_tensor(self.star)).square().sum()) / 2


class Factors(NamedTuple):
    """Numbers of a client's model, in numpy."""

    a: Array
    b: Array
    phi: Array
    merged: Array | float = 0.0

    @property
    def product(self) -> Array:
        return self.b @ self.a + self.merged


def drawn(*shape: int, seed: int) -> Array:
    return np.random.default_rng([3, seed]).standard_normal(shape)


CLIENTS = [AdaptedClient(drawn(OUT, IN, seed=k), drawn(3, seed=10 + k), 6 + 4 * k) for k in range(3)]
P = np.array([one.num_examples for one in CLIENTS]) / sum(one.num_examples for one in CLIENTS)
"""p_k."""
START = Factors(drawn(RANK, IN, seed=20) / 2, drawn(OUT, RANK, seed=21) / 2, np.zeros(3))


def params_of(factors: Factors) -> dict[str, Tensor]:
    return {A: torch.tensor(factors.a), B: torch.tensor(factors.b), HEAD: torch.tensor(factors.phi)}


def factors_of(params: Params) -> Factors:
    merged = params[MERGED].numpy() if MERGED in params else 0.0
    return Factors(params[A].numpy(), params[B].numpy(), params[HEAD].numpy(), merged)


def descend(client: AdaptedClient, start: Factors, steps: int, holds_a: bool = False) -> Factors:
    """Steps of (2), in numpy."""
    a, b, phi, merged = start
    for _ in range(steps):
        gap = SCALE * (b @ a + merged) - client.target
        slope_a, slope_b = SCALE * b.T @ gap, SCALE * gap @ a.T
        a = a if holds_a else a - LR * slope_a
        b, phi = b - LR * slope_b, phi - LR * (phi - client.star)
    return Factors(a, b, phi, merged)


def mean(arrays: Sequence[Array]) -> Array:
    """Σ p_k x_k."""
    return np.tensordot(P, np.stack(arrays), 1)


def covariance(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """Σ p_k (B_k − B̄)(A_k − Ā)."""
    return mean([(one - mean(b)) @ (other - mean(a)) for one, other in zip(b, a, strict=True)])


class AdapterRounds(NamedTuple):
    """Some rounds of all clients, one full batch an epoch."""

    personal: list[Factors]
    """Models that the clients predict with."""
    private: list[Params]
    """After the last round."""
    downs: list[Params]
    """All arrays of a broadcast after the last round."""
    uploads: list[Params]
    """All arrays of the last round's uploads."""


def context(round: int, client: int) -> Context:
    return context_of(seed=1, round=round, client=client)


def play(algorithm: Any, rounds: int, clients: Sequence[AdaptedClient] = CLIENTS) -> AdapterRounds:
    params = params_of(START)
    server = algorithm.init_server(params, CTX)
    private = [algorithm.init_client(params, one.num_examples) for one in clients]
    sent: list[tuple[int, Upload]] = []
    for round in range(rounds):
        downs = [algorithm.broadcast(server, k, CTX) for k in range(len(clients))]
        results = []
        for k, one in enumerate(clients):
            batches = Quadratic(np.eye(1), np.zeros(1), one.num_examples).batches(1)
            results.append(algorithm.local_update(one.loss, downs[k], private[k], batches, context(round, k)))
        private = [result.private for result in results]
        sent = [(k, result.upload) for k, result in enumerate(results)]
        server = algorithm.aggregate(server, sent, CTX)
    downs = [algorithm.broadcast(server, k, CTX) for k in range(len(clients))]
    personal = [factors_of(algorithm.personal_params(down, own)) for down, own in zip(downs, private, strict=True)]
    return AdapterRounds(personal, private, [_joined(down) for down in downs], [_joined(up.payload) for _, up in sent])


def _joined(payload: Any) -> dict[str, Tensor]:
    return {name: value for params in payload.values() for name, value in params.items()}


def same_models(found: Sequence[Factors], expected: Sequence[Factors]) -> CheckResult:
    """Products and heads of all clients."""
    return every(
        close(np.stack([one.phi for one in found]), np.stack([one.phi for one in expected]), atol=1e-12),
        close(np.stack([one.product for one in found]), np.stack([one.product for one in expected]), atol=1e-12),
    )


def means_of_factors_are_off_by_their_covariance(cls: Callable[..., Any]) -> CheckResult:
    """(3), after a round of two steps of an algorithm that averages A and B apart; in numpy it is far from 0."""
    found = play(cls(lr=LR, epochs=2), 1)
    a, b = ([up[name].numpy() for up in found.uploads] for name in (A, B))
    gap = found.personal[0].product - mean([one @ other for one, other in zip(b, a, strict=True)])
    return every(above(float(np.linalg.norm(covariance(a, b))), 0.01), close(gap, -covariance(a, b), atol=1e-12))
