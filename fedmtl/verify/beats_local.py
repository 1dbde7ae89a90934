"""Planted problems: what clients have in common is known, and an algorithm that shares it must beat learning alone.

K clients, each a linear regression of its own, with fewer examples than inputs:

    y = xᵀw*_k + ε,   x from N(0, I_d),   ε from N(0, 0.1²),   n < d                                          (1)

The excess risk of an affine prediction f(x) = wᵀx + b on new inputs is exact, as E xxᵀ = I:

    R_k = E (f(x) − xᵀw*_k)² = ‖w − w*_k‖² + b²                                                              (2)

What Local loses for certain: gradients in w are sums of the client's own examples, so w never leaves its start, small
and the same for all, in the d − n directions that these do not span (where w is a product of a trunk and a head, what
it has there comes from its start). There R_k is what w*_k has there, in the mean over chance (1 − n/d) ‖w*_k‖², half
of it for n = 6 and d = 12: whatever the rate, and wherever it stops. The clients together span all directions many
times over, so what is common to them can be learnt. The bound is 0.8 of the least that Local comes to after any of its
rounds, a fifth less: a method that only descends as Local does, or that averages what should not be, is beyond it.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms.base import first_server
from fedmtl.algorithms.local import Local
from fedmtl.core.trees import tree_index, tree_leaves, tree_stack, tree_unflatten
from fedmtl.core.types import Batch, Params, Payload, Upload
from fedmtl.registry.components import find
from fedmtl.verify.check import Check, Found, below

CLIENTS, EXAMPLES, INPUTS = 16, 6, 12
EPOCHS = 5
MARGIN = 0.8
ROUNDS = 40
Predict = Callable[[Params, Tensor], Tensor]
"""(parameters, inputs [n, d]) -> predictions [n]."""


class Loss(NamedTuple):
    """Half the mean squared error, of the one task t."""

    predict: Predict

    def each(self, params: Params, batch: Batch) -> Tensor:
        return (self.predict(params, batch["x"]) - batch["y.t"]).square().mean().reshape(1) / 2

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self.each(params, batch).mean()


class Hinge(NamedTuple):
    """MOCHA's, for the label 1 where y > 0."""

    predict: Predict

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return (1 - (2 * batch["y.t"] - 1) * self.predict(params, batch["x"])).clamp(min=0).mean()


class Problem(NamedTuple):
    """A federation, and the model that it is given to."""

    stars: NDArray[np.float64]
    """w*_k [K, d]."""
    start: dict[str, Tensor]
    predict: Predict
    labels: bool = False
    """Told is only whether y > 0; then the risk is that of a wrong label, the angle between w and w*_k over π."""
    lr: float = 0.1
    """That learning alone has, and most others."""

    def batch(self) -> dict[str, Tensor]:
        """All examples of all clients, arrays [K, n, …]."""
        generator = np.random.default_rng(1)
        x = generator.standard_normal((len(self.stars), EXAMPLES, self.stars.shape[1]))
        y = np.einsum("knd,kd->kn", x, self.stars)
        y = y > 0 if self.labels else y + 0.1 * generator.standard_normal(y.shape)
        count = torch.ones(len(y), EXAMPLES)
        index = torch.arange(EXAMPLES).expand(len(y), -1)
        return {"x": torch.tensor(x), "y.t": torch.tensor(y).double(), "mask": count, "index": index}

    def risk(self, predictions: Sequence[Callable[[Tensor], Tensor]]) -> float:
        """The mean of (2) over the clients' f: b = f(0), and w_j = f(e_j) − b."""
        basis = torch.eye(self.stars.shape[1], dtype=torch.float64)
        found = []
        for f, star in zip(predictions, self.stars, strict=True):
            b = f(torch.zeros_like(basis[:1])).numpy()
            w = f(basis).numpy() - b
            if self.labels:
                found.append(np.arccos(w @ star / (np.linalg.norm(w) * np.linalg.norm(star) + 1e-300)) / np.pi)
            else:
                found.append(np.square(w - star).sum() + float(b[0]) ** 2)
        return float(np.mean(found))


Coded = Callable[[int, Payload, Payload], Payload]
"""(client, upload, broadcast) -> what the server makes of the upload."""


def learn(algorithm: Any, problem: Problem, rounds: int, coded: Coded | None = None, each: bool = False) -> list[float]:
    """The clients' mean risk after the last of some rounds of all, who train side by side, or after each."""
    count, batch = len(problem.stars), problem.batch()
    loss = Hinge(problem.predict) if problem.labels else Loss(problem.predict)
    server = first_server(algorithm, problem.start, dict.fromkeys(range(count), problem.start))
    private = tree_stack([algorithm.init_client(problem.start, EXAMPLES)] * count)

    def update(inputs: Any) -> Any:
        down, private, batch = inputs
        return algorithm.local_update(loss, down, private, [batch])

    risks = []
    for left in reversed(range(rounds)):
        downs = [algorithm.broadcast(server, k) for k in range(count)]
        private, (payload, sizes) = _side_by_side(update, (tree_stack(downs), private, batch))
        payloads = [tree_index(payload, k) for k in range(count)]
        if coded is not None:
            payloads = [coded(k, up, down) for k, (up, down) in enumerate(zip(payloads, downs, strict=True))]
        server = algorithm.aggregate(server, [(k, Upload(up, float(sizes[k]))) for k, up in enumerate(payloads)])
        if left and not each:
            continue
        downs = [algorithm.broadcast(server, k) for k in range(count)]
        told = [predictor(algorithm, problem.predict, down, tree_index(private, k)) for k, down in enumerate(downs)]
        risks.append(problem.risk(told))
    return risks


def predictor(algorithm: Any, predict: Predict, down: Payload, private: Any) -> Callable[[Tensor], Tensor]:
    """What a client predicts: by one set of parameters, or by the mean of several predictions."""
    if not algorithm.traits.mixture:
        return partial(predict, algorithm.personal_params(down, private))
    models, weights = algorithm.mixture(down, private)
    own = weights["t"] if isinstance(weights, Mapping) else weights
    return lambda x: sum((w * predict(model, x) for w, model in zip(own, models, strict=True)), torch.zeros(len(x)))


def _side_by_side(function: Callable[[Any], Any], inputs: Any) -> Any:
    """A function of a tree, for each row of a stacked one; leaves are taken out, since ``vmap`` takes no None."""
    trees: list[Any] = []

    def of_leaves(*values: Tensor) -> list[Tensor]:
        trees.append(function(tree_unflatten(inputs, values)))
        return tree_leaves(trees[0])

    found = torch.vmap(of_leaves)(*tree_leaves(inputs))
    return tree_unflatten(trees[0], found)


# ---- what clients may have in common, and the models that can hold it ----


def _draw(*shape: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng([2, seed]).standard_normal(shape)


def _slopes(params: Params, x: Tensor) -> Tensor:
    return x @ params["trunk.w"] + params["head.t.b"]


def _slopes_start() -> dict[str, Tensor]:
    """Small, not 0: what several models begin with is drawn in the scale of the first."""
    return {"trunk.w": torch.tensor(0.05 * _draw(INPUTS, seed=1)), "head.t.b": torch.zeros((), dtype=torch.float64)}


def _features(params: Params, x: Tensor) -> Tensor:
    return x @ params["trunk.w"].T @ params["head.t.w"]


def one_mean() -> Problem:
    """w*_k = m + u_k with ‖m‖² about d and ‖u_k‖² about d/16: a model for everybody is wrong by that."""
    stars = _draw(INPUTS, seed=3) + _draw(CLIENTS, INPUTS, seed=4) / 4
    return Problem(stars, _slopes_start(), _slopes)


def two_clusters() -> Problem:
    """w*_k = ±m + u_k with ‖u_k‖² about d/16, for the first and the second half: a model for everybody is near 0, and
    wrong by ‖m‖²."""
    sides = np.repeat([1.0, -1.0], CLIENTS // 2)[:, None]
    stars = sides * _draw(INPUTS, seed=3) + _draw(CLIENTS, INPUTS, seed=4) / 4
    return Problem(stars, _slopes_start(), _slopes)


def one_subspace() -> Problem:
    """w*_k = Vᵀh_k with two directions V: 24 numbers in common and two of each client's own, from 96 examples."""
    directions = np.linalg.qr(_draw(INPUTS, 2, seed=5))[0].T
    stars = 2 * _draw(CLIENTS, 2, seed=6) @ directions
    start = {"trunk.w": torch.tensor(0.3 * _draw(2, INPUTS, seed=7)), "head.t.w": torch.tensor(_draw(2, seed=8))}
    return Problem(stars, start, _features, lr=0.05)


def one_mean_by_features() -> Problem:
    """``one_mean`` for a trunk of two features, whose head may stay as it was drawn."""
    return one_mean()._replace(start=one_subspace().start, predict=_features, lr=0.05)


def one_model_by_gains() -> Problem:
    """w*_k = s_k m, of unlike sensors: what the head [d] has in common shows when each trunk knows its own s_k."""
    sizes = 1 + _draw(CLIENTS, 1, seed=9) / 2
    start = {
        "trunk.s": torch.ones((), dtype=torch.float64),
        "head.t.w": torch.tensor(0.05 * _draw(INPUTS, seed=1)),
    }
    return Problem(sizes * _draw(INPUTS, seed=3), start, _gain, lr=0.02)


def one_model_by_norms() -> Problem:
    """``one_model_by_gains`` with the gain in a norm layer's weight and bias, known by their shapes."""
    problem = one_model_by_gains()
    one = torch.ones(1, dtype=torch.float64)
    start = {"trunk.weight": one, "trunk.bias": 0 * one, "head.t.w": problem.start["head.t.w"]}
    return problem._replace(start=start, predict=_norm)


def two_clusters_of_labels() -> Problem:
    """``two_clusters`` for linear models of yes or no: turned round, the one half's model is the other's."""
    start = {"head.t.weight": torch.zeros(1, INPUTS, dtype=torch.float64)}
    return two_clusters()._replace(start=start, predict=_no_offset, labels=True)


def _gain(params: Params, x: Tensor) -> Tensor:
    return params["trunk.s"] * (x @ params["head.t.w"])


def _norm(params: Params, x: Tensor) -> Tensor:
    return params["trunk.weight"][0] * (x @ params["head.t.w"]) + params["trunk.bias"][0]


def _no_offset(params: Params, x: Tensor) -> Tensor:
    return x @ params["head.t.weight"][0]


# ---- who claims what ----


class Claim(NamedTuple):
    """What an algorithm is given to learn, and with which hyper-parameters."""

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
    """Return what an algorithm claims, ``GAIN`` of its file of golden checks, or the reason why it claims nothing."""
    module = find("algorithm", name).__module__.rpartition(".")[2]
    return importlib.import_module(f"fedmtl.verify.{module}").GAIN


@cache
def alone(problem: Callable[[], Problem]) -> float:
    """The least mean risk that Local comes to, after any of its rounds."""
    planted = problem()
    return min(learn(Local(lr=planted.lr, epochs=EPOCHS), planted, ROUNDS, each=True))


def what_is_in_common_is_learnt_better_than_alone(cls: Any) -> Found:
    """The clients' mean excess risk after the last round is below 0.8 of the least that Local comes to in any round.

    Learning alone loses what w*_k has in the directions that its client has no example of, half of ‖w*_k‖²: the
    derivation is at the head of fedmtl/verify/beats_local.py, with what is planted and with which hyper-parameters.
    """
    claim = gain_of(cls.__name__)
    assert isinstance(claim, Claim)
    return below(learn(claim.make(cls), claim.problem(), claim.rounds)[-1], MARGIN * alone(claim.problem))


def gain_checks(name: str) -> tuple[Check, ...]:
    """The check of an algorithm that claims a gain, or none."""
    return (what_is_in_common_is_learnt_better_than_alone,) if isinstance(gain_of(name), Claim) else ()
