"""Planted problems: what clients have in common is known, and an algorithm that shares it must beat learning alone.

K clients, each a linear regression of its own, with fewer examples than inputs:

    y = xᵀw*_k + ε,   x from N(0, I_d),   ε from N(0, 0.1²),   n < d                                          (1)

The excess risk of an affine prediction f(x) = wᵀx + b on new inputs is exact, as E xxᵀ = I:

    R_k = E (f(x) − xᵀw*_k)² = ‖w − w*_k‖² + b²                                                              (2)

What Local loses for certain: gradients in w are sums of the client's own examples, so w never leaves its start, small
and the same for all, in the d − n directions that these do not span (where w is a product of a trunk and a head, what
it has there comes from its start). There R_k is what w*_k has there, on average over the draws (1 − n/d) ‖w*_k‖², half
of it for n = 6 and d = 12: whatever the rate, and wherever it stops. The clients together span all directions many
times over, so what is common to them can be learnt. The bound is 0.8 of the least that Local comes to after any of its
rounds, a fifth less: a method that only descends as Local does, or that averages what should not be, is beyond it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms.base import first_server
from fedmtl.algorithms.local import Local
from fedmtl.core.context import Context
from fedmtl.core.trees import tree_index, tree_stack
from fedmtl.core.types import Batch, Payload, Upload
from fedmtl.engines.base import ClientFn, Cohort
from fedmtl.engines.vmap import VMap
from fedmtl.registry.components import REGISTRY
from fedmtl.verify.check import CTX, Check, CheckResult, below
from fedmtl.verify.lookup import checks_file
from fedmtl.verify.planted import CLIENTS, EXAMPLES, Hinge, Loss, Predict, Problem

EPOCHS = 5
MARGIN = 0.8
ROUNDS = 40
Aggregate = Callable[[Any, Sequence[tuple[int, Upload]], Context], Any]
"""An algorithm's ``aggregate``, or one in its place."""


class ProblemClients:
    """A problem's clients, who train side by side. What the engine has compiled is kept, for further calls."""

    def __init__(self, algorithm: Any, problem: Problem) -> None:
        self._algorithm, self._problem = algorithm, problem
        self._batch, self._engine = problem.batch(), VMap(chunk=len(problem.stars))
        loss = Hinge(problem.predict) if problem.labels else Loss(problem.predict)

        def update(down: Payload, private: Any, batches: Sequence[Batch], _: Context) -> Any:
            return algorithm.local_update(loss, down, private, batches, CTX)

        self._update = update

    def learn(self, rounds: int, each: bool = False, aggregate: Aggregate | None = None) -> list[float]:
        """The clients' mean risk after the last of some rounds of all, or after each."""
        return list(self.risks(range(1, rounds + 1) if each else [rounds], aggregate))

    def risks(self, after: Sequence[int], aggregate: Aggregate | None = None) -> Iterator[float]:
        """Yield the clients' mean risk after these numbers of rounds of all, ascending."""
        algorithm, start, count = self._algorithm, self._problem.start, len(self._problem.stars)
        server = first_server(algorithm, start, dict.fromkeys(range(count), start), CTX)
        private = tree_stack([algorithm.init_client(start, EXAMPLES)] * count)
        for done in range(1, after[-1] + 1):
            downs = [algorithm.broadcast(server, k, CTX) for k in range(count)]
            cohort = _cohort(self._update, downs, private, self._batch)
            private, (payload, sizes), _ = self._engine.map([cohort])[0]
            uploads = [(k, Upload(tree_index(payload, k), float(sizes[k]))) for k in range(count)]
            server = (aggregate or algorithm.aggregate)(server, uploads, CTX)
            if done not in after:
                continue
            downs = [algorithm.broadcast(server, k, CTX) for k in range(count)]
            predict = self._problem.predict
            own = [predictor(algorithm, predict, down, tree_index(private, k)) for k, down in enumerate(downs)]
            yield self._problem.risk(own)


def learn(algorithm: Any, problem: Problem, rounds: int, each: bool = False) -> list[float]:
    """The clients' mean risk after the last of some rounds, or after each."""
    return ProblemClients(algorithm, problem).learn(rounds, each)


def predictor(algorithm: Any, predict: Predict, down: Payload, private: Any) -> Callable[[Tensor], Tensor]:
    """Return a client's prediction function: by one set of parameters, or by the mean of several predictions."""
    if not algorithm.traits.mixture:
        return partial(predict, algorithm.personal_params(down, private))
    models, weights = algorithm.mixture(down, private)
    own = weights["t"] if isinstance(weights, Mapping) else weights
    return lambda x: sum((w * predict(model, x) for w, model in zip(own, models, strict=True)), torch.zeros(len(x)))


def _cohort(function: ClientFn, downs: Sequence[Payload], private: Any, batch: Batch) -> Cohort:
    """Return all clients, each with its own broadcast, its row of the private states and of the batch."""

    def batches(rows: NDArray[np.int64]) -> list[Batch]:
        return [{key: value[torch.from_numpy(rows)] for key, value in batch.items()}]

    every = np.arange(len(downs))
    return Cohort(every.tolist(), function, downs, every, private, np.ones(len(downs), np.int64), batches, ("t",))


# ---- claims ----


class Claim(NamedTuple):
    """A problem for an algorithm, and the hyper-parameters."""

    problem: Callable[[], Problem]
    make: Callable[[Any], Any]
    """(its class) -> the algorithm."""
    rounds: int = ROUNDS


def steps(lr: float = 0.1, **fields: Any) -> Callable[[Any], Any]:
    return lambda cls: cls(lr=lr, epochs=EPOCHS, **fields)


def around(inner: Callable[..., Any], lr: float = 0.1, **fields: Any) -> Callable[[Any], Any]:
    return lambda cls: cls(inner(lr=lr, epochs=EPOCHS), **fields)


FIRST, SECOND = range(CLIENTS // 2), range(CLIENTS // 2, CLIENTS)
HALVES = tuple(" ".join(map(str, half)) for half in (FIRST, SECOND))
PAIRS = tuple(f"{k}-{other}" for half in (FIRST, SECOND) for k in half for other in half if k < other)


def gain_of(name: str) -> Claim | str:
    """Return an algorithm's claim, ``GAIN`` of its file of golden checks, or the reason why it claims nothing."""
    return checks_file(name).GAIN


@cache
def alone(problem: Callable[[], Problem]) -> float:
    """The least mean risk that Local comes to, after any of its rounds."""
    planted = problem()
    return min(learn(Local(lr=planted.lr, epochs=EPOCHS), planted, ROUNDS, each=True))


def what_is_in_common_is_learnt_better_than_alone(cls: Any) -> CheckResult:
    """The clients' mean excess risk after the last round is below 0.8 of the least that Local comes to in any round.

    Learning alone loses what w*_k has in the directions that its client has no example of, half of ‖w*_k‖²: the
    derivation is at the head of fedmtl/verify/beats_local.py, with what is planted and with which hyper-parameters.
    """
    claim = gain_of(cls.__name__)
    assert isinstance(claim, Claim)
    return below(learn(claim.make(cls), claim.problem(), claim.rounds)[-1], MARGIN * alone(claim.problem))


def gain_checks(name: str) -> tuple[Check, ...]:
    """The check of an algorithm that claims a gain, or none."""
    claims = name in REGISTRY["algorithm"] and isinstance(gain_of(name), Claim)
    return (what_is_in_common_is_learnt_better_than_alone,) if claims else ()
