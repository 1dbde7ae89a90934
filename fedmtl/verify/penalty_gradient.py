"""Penalties and pulls move a client where its data does not: they have a gradient, and it is the equation's.

One or two clients whose objective is flat but for the very first batch, in which client k has the slope ±g:

    f(w) = ± gᵀw in batch 1 of round 1,   f(w) = 0 in batch 2, and in both batches of round 2                 (1)

So the first step is e_k = ∓ ηg away from the start, and from then on nothing moves a client but what the algorithm
adds. Two clients move oppositely, so that their mean stays where it was. An algorithm of one epoch then predicts with
start + c e_k: c is derived for each below. Were a penalty detached from the graph, or added without its gradient, c
would be 1; were it of another strength or sign, c would be another number.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.base import first_server
from fedmtl.core.types import Batch, Params
from fedmtl.verify.check import Check, CheckResult, close
from fedmtl.verify.quadratic import Array, vector

LR = 0.125
SLOPE = np.array([1.0, -2.0, 0.5, 3.0, -1.0])
START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
"""θ [3], then φ [2]."""


class Pull(NamedTuple):
    """An algorithm, and what is left of a first step."""

    make: Callable[[Any], Any]
    """(its class) -> the algorithm, of one epoch and η = ``LR``."""
    trunk: float
    """c of θ."""
    head: float
    """c of φ."""
    clients: int = 2


def _amp(alpha: float, lam: float, sigma: float) -> float:
    """FedAMP. Round 1: u = start, batch 2 leaves s = 1 − ηλ/α of e. Then ξ = α/σ exp(−‖2se‖²/σ) of θ, u = (1 − 2ξ)se;
    two batches leave s² of w − u, which is 2ξse: (1 − 2ξ)s + 2ξs³."""
    s = 1 - LR * lam / alpha
    xi = alpha / sigma * float(np.exp(-np.square(2 * s * LR * SLOPE[:3]).sum() / sigma))
    return (1 - 2 * xi) * s + 2 * xi * s**3


def _moreau(lam: float, steps: int, shared_lr: float) -> float:
    """pFedMe. K steps on g + λ(θ − w) from w go to w − g/λ (1 − (1 − η_θλ)^K); w follows by ηλ times that way; in flat
    batches θ stays at w. In units of e, of length η_θ: η/η_θ (1 − (1 − η_θλ)^K)."""
    return shared_lr / LR * (1 - (1 - LR * lam) ** steps)


PULLS: dict[str, Pull] = {
    # Batch 2 leaves 1 − ημ; the one client's model is then the server's, and round 2 begins where it is pulled to.
    "FedProx": Pull(lambda cls: cls(lr=LR, epochs=1, mu=0.8), 0.9, 0.9, clients=1),
    # w̄ stays at the start: three flat batches leave (1 − ηλ)³. The same of v towards w.
    "MRMTL": Pull(lambda cls: cls(lr=LR, epochs=1, lam=0.8), 0.9**3, 0.9**3),
    "Ditto": Pull(lambda cls: cls(lr=LR, epochs=1, personal_epochs=1, lam=0.8), 0.9**3, 0.9**3),
    "PFedMe": Pull(
        lambda cls: cls(lr=LR, shared_lr=0.25, epochs=1, steps=3, lam=2.0),
        _moreau(2.0, 3, 0.25),
        _moreau(2.0, 3, 0.25),
        clients=1,
    ),
    # Two rounds of w_k − ηRβ (w_k − w_l), and w_k − w_l = 2e_k: (1 − 2ηβ)².
    "FedU": Pull(lambda cls: cls(lr=LR, epochs=1, beta=0.8), 0.8**2, 0.8**2),
    "FedAMP": Pull(
        lambda cls: cls(lr=LR, epochs=1, lam=0.6, alpha=1.5, sigma=8.0), _amp(1.5, 0.6, 8.0), _amp(1.5, 0.6, 8.0)
    ),
    # Of θ, 1/(1 + pull) is left where a client begins, and again where it predicts: after the step, in rounds 2 and 3.
    "SoftSharing": Pull(lambda cls: cls(lr=LR, epochs=1, pull=0.25), 0.8**2, 1.0),
    # Two rounds of θ_k − ρ (θ_k − θ_l): (1 − 2ρ)²; φ stays.
    "GraphStructured": Pull(lambda cls: cls(lr=LR, epochs=1, strength=0.1, edges=("0-1",)), 0.8**2, 1.0),
    # Mixed by ½ ε of the other, twice: (1 − ε)².
    "CrossStitch": Pull(lambda cls: cls(lr=LR, epochs=1, mix=0.2, rate=0.0), 0.8**2, 1.0),
}
"""Algorithm -> what its penalty or pull makes of a first step. A new one is a new line."""


def _play(algorithm: Any, count: int) -> Array:
    """What clients predict with after the two rounds, [K, 5]."""
    first = {"trunk.w": torch.tensor(START[:3]), "head.t.b": torch.tensor(START[3:])}
    slope = torch.tensor(SLOPE)
    server = first_server(algorithm, first, dict.fromkeys(range(count), first))
    private = {k: algorithm.init_client(first, 2) for k in range(count)}

    def loss(w: Params, batch: Batch) -> Tensor:
        return batch["slope"].sum() * (slope @ torch.cat([w["trunk.w"], w["head.t.b"]]))

    for kick in (1.0, 0.0):
        sent = []
        for k in range(count):
            batches = [
                {"x": torch.zeros(1, 1), "index": torch.zeros(1, dtype=torch.int64), "mask": torch.ones(1), "slope": s}
                for s in (torch.tensor([kick * (-1.0) ** k]).double(), torch.zeros(1).double())
            ]
            result = algorithm.local_update(loss, algorithm.broadcast(server, k), private[k], batches)
            private[k] = result.private
            sent.append((k, result.upload))
        server = algorithm.aggregate(server, sent)
    return np.stack([vector(algorithm.personal_params(algorithm.broadcast(server, k), private[k])) for k in private])


def the_penalty_has_the_gradient_of_its_equation(cls: Any) -> CheckResult:
    """One step away, then flat objectives: what is left of the step after two rounds is c, by the pull alone.

    c of trunk and head is derived at the head of this file and beside each algorithm's line there.
    """
    pull = PULLS[cls.__name__]
    left = np.array([pull.trunk] * 3 + [pull.head] * 2)
    expected = [START - (-1) ** k * LR * SLOPE * left for k in range(pull.clients)]
    return close(_play(pull.make(cls), pull.clients), np.stack(expected), atol=1e-12)


def pull_checks(name: str) -> tuple[Check, ...]:
    """The check of an algorithm with a penalty or a pull, or none."""
    return (the_penalty_has_the_gradient_of_its_equation,) if name in PULLS else ()
