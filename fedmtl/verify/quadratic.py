"""Federations whose every answer is known: each client's objective is a quadratic, its gradient exact.

    f_k(w) = ½ (w − w*_k)ᵀ H_k (w − w*_k)          ∇f_k(w) = H_k (w − w*_k)                                   (1)

w = (θ, φ_k) in float64: the first numbers are the trunk's, ``trunk.w``; the others the head's, ``head.t.b``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms.base import first_server
from fedmtl.core.context import context_of
from fedmtl.core.types import Batch, Params, Upload
from fedmtl.verify.check import CTX

Array = NDArray[np.float64]


class Quadratic(NamedTuple):
    """A client."""

    hessian: Array
    """H_k [p, p], symmetric, positive definite."""
    star: Array
    """w*_k [p]."""
    num_examples: int
    """n_k."""
    trunk: int = 3
    """Size of the trunk, of the p numbers."""

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """(1)."""
        w = torch.cat([params["trunk.w"], params["head.t.b"]])
        gap = w - torch.as_tensor(self.star)
        return gap @ torch.as_tensor(self.hessian) @ gap / 2

    def gradient(self, w: Array) -> Array:
        """(1), in numpy."""
        return self.hessian @ (w - self.star)

    def params(self, w: Array) -> dict[str, Tensor]:
        return {"trunk.w": torch.tensor(w[: self.trunk]), "head.t.b": torch.tensor(w[self.trunk :])}

    def batches(self, steps: int) -> list[dict[str, Tensor]]:
        """``steps`` batches, of which each holds examples: the objective is the same in all."""
        sizes = np.diff(np.linspace(0, self.num_examples, steps + 1).round()).astype(int)
        longest = int(sizes.max())
        return [
            {
                "x": torch.zeros(longest, 1, dtype=torch.float64),
                "index": torch.arange(longest),
                "mask": (torch.arange(longest) < size).float(),
            }
            for size in sizes
        ]


def vector(params: Params) -> Array:
    """θ, then φ."""
    parts = [params[name].detach().double().numpy() for name in ("trunk.w", "head.t.b") if name in params]
    return np.concatenate(parts)


def clients(count: int = 3, seed: int = 0, trunk: int = 3, head: int = 2) -> list[Quadratic]:
    """Clients that do not agree, with unlike numbers of examples, eigenvalues of H between 1/2 and 2."""
    generator = np.random.default_rng(seed)
    found = []
    for k in range(count):
        basis = np.linalg.qr(generator.standard_normal((trunk + head,) * 2))[0]
        hessian = basis @ np.diag(generator.uniform(0.5, 2.0, trunk + head)) @ basis.T
        star = generator.standard_normal(trunk + head)
        found.append(Quadratic((hessian + hessian.T) / 2, star, 6 + 4 * k, trunk))
    return found


class Played(NamedTuple):
    """After some rounds."""

    server: Any
    private: Mapping[int, Any]
    personal: Array
    """Parameters that each client predicts with, [K, p]."""
    uploads: list[tuple[int, Upload]]
    """Uploads of the last round."""


def play(
    algorithm: Any,
    federation: Sequence[Quadratic],
    start: Array,
    rounds: int,
    steps: int = 1,
    watch: Callable[[Array], None] | None = None,
) -> Played:
    """Rounds of all clients from the parameters ``start`` [p], ``steps`` batches an epoch.

    ``watch`` is called after each round with the parameters that the clients predict with.
    """
    first = federation[0].params(start)
    server = first_server(algorithm, first, dict.fromkeys(range(len(federation)), first), CTX)
    private = {k: algorithm.init_client(first, one.num_examples) for k, one in enumerate(federation)}
    uploads: list[tuple[int, Upload]] = []
    batches, ctx = [one.batches(steps) for one in federation], CTX

    def predicted() -> Array:
        each = (
            algorithm.personal_params(algorithm.broadcast(server, k, ctx), private[k]) for k in range(len(federation))
        )
        return np.stack([vector(params) for params in each])

    for round in range(rounds):
        uploads, ctx = [], context_of(seed=1, round=round)
        for k, one in enumerate(federation):
            result = algorithm.local_update(one.loss, algorithm.broadcast(server, k, ctx), private[k], batches[k], ctx)
            private[k] = result.private
            uploads.append((k, result.upload))
        server = algorithm.aggregate(server, uploads, ctx)
        if watch is not None:
            watch(predicted())
    return Played(server, private, predicted(), uploads)


def weights(federation: Sequence[Quadratic]) -> Array:
    """p_k = n_k / Σ n, [K]."""
    counts = np.array([one.num_examples for one in federation], np.float64)
    return counts / counts.sum()
