"""A penalty moves a client where its data does not: it has a gradient, and it is the equation's.

One or two clients whose objective is flat but for the very first batch, in which client k has the slope ±g:

    f(w) = ± gᵀw in batch 1 of round 1,   f(w) = 0 in batch 2, and in both batches of round 2                 (1)

So the first step is e_k = ∓ ηg away from the start, and from then on nothing moves a client but what the algorithm
adds. Two clients move oppositely, so that their mean stays where it was. An algorithm of one epoch then predicts with
start + c e_k: c is derived in the file of each. Were a penalty detached from the graph, or added without its gradient,
c would be 1; were it of another strength or sign, c would be another number.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.base import first_server
from fedmtl.core.types import Batch, Params
from fedmtl.verify.check import CTX, Check, CheckResult, close
from fedmtl.verify.lookup import checks_file
from fedmtl.verify.quadratic import Array, vector

LR = 0.125
SLOPE = np.array([1.0, -2.0, 0.5, 3.0, -1.0])
START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
"""θ [3], then φ [2]."""


class Penalty(NamedTuple):
    """``PENALTY`` of an algorithm's file of golden checks: the algorithm, and the part of a first step that is left."""

    make: Callable[[Any], Any]
    """(its class) -> the algorithm, of one epoch and η = ``LR``."""
    trunk: float
    """c of θ."""
    head: float
    """c of φ."""
    clients: int = 2


def penalty_of(name: str) -> Penalty | None:
    """Return ``PENALTY`` of an algorithm's file of golden checks; None where it has no penalty."""
    return vars(checks_file(name)).get("PENALTY")


def _play(algorithm: Any, count: int) -> Array:
    """Return the parameters that clients predict with after the two rounds, [K, 5]."""
    first = {"trunk.w": torch.tensor(START[:3]), "head.t.b": torch.tensor(START[3:])}
    slope = torch.tensor(SLOPE)
    server = first_server(algorithm, first, dict.fromkeys(range(count), first), CTX)
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
            result = algorithm.local_update(loss, algorithm.broadcast(server, k, CTX), private[k], batches, CTX)
            private[k] = result.private
            sent.append((k, result.upload))
        server = algorithm.aggregate(server, sent, CTX)
    return np.stack(
        [vector(algorithm.personal_params(algorithm.broadcast(server, k, CTX), private[k])) for k in private]
    )


def the_penalty_has_the_gradient_of_its_equation(cls: Any) -> CheckResult:
    """One step away, then flat objectives: c of the step is left after two rounds, by the penalty alone.

    c of trunk and head is derived beside ``PENALTY`` of the algorithm's file, from the head of penalty_gradient.py.
    """
    penalty = penalty_of(cls.__name__)
    assert penalty is not None
    left = np.array([penalty.trunk] * 3 + [penalty.head] * 2)
    expected = [START - (-1) ** k * LR * SLOPE * left for k in range(penalty.clients)]
    return close(_play(penalty.make(cls), penalty.clients), np.stack(expected), atol=1e-12)


def penalty_checks(name: str) -> tuple[Check, ...]:
    """The check of an algorithm with a penalty, or none."""
    return (the_penalty_has_the_gradient_of_its_equation,) if penalty_of(name) else ()
