"""Running statistics of clients whose first layer is BatchNorm, so that they follow from the data alone."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from fedmtl.algorithms.base import first_server
from fedmtl.core.types import Params
from fedmtl.data.batches import make_batches
from fedmtl.models.split import build, initial_params, loss_fn
from fedmtl.tasks.regression import Regression
from fedmtl.verify.check import CTX, CheckResult, close
from fedmtl.verify.quadratic import Array

COUNTS = (6, 10)
"""Examples of the two clients, all in one batch, which for the first is padded with two rows."""
MOMENTUM = 0.1
START_MOMENTS = np.stack([np.zeros(3), np.ones(3)])
"""Statistics that BatchNorm begins with."""
NAMES = ("trunk.0.running_mean", "trunk.0.running_var")


class _Normed:
    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(input_shape[0], momentum=MOMENTUM))

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


class Statistics(NamedTuple):
    """After some rounds."""

    personal: Array
    """Mean and variance of three features that each client predicts with, [2 clients, 2, 3]."""
    sent: bool
    """True where an upload has statistics."""


def statistics(algorithm: Any, rounds: int) -> Statistics:
    """Play rounds of the two clients."""
    tasks = {"t": Regression()}
    module = build(_Normed(), (3,), tasks, 1, False)
    params, loss, uploads = initial_params(module), loss_fn(module, tasks, ("t",)), []
    server = first_server(algorithm, params, dict.fromkeys(range(len(COUNTS)), params), CTX)
    private = [algorithm.init_client(params, n) for n in COUNTS]
    for _ in range(rounds):
        found = []
        for k, x in enumerate(inputs()):
            batches = make_batches(x.astype(np.float32), {"t": np.zeros(len(x), np.float32)}, None, None)
            if k == 0:
                batches = [_padded(batch) for batch in batches]
            down = algorithm.broadcast(server, k, CTX)
            found.append(algorithm.local_update(loss, down, private[k], batches, CTX))
        private, uploads = [one.private for one in found], [(k, one.upload) for k, one in enumerate(found)]
        server = algorithm.aggregate(server, uploads, CTX)
    each = [algorithm.personal_params(algorithm.broadcast(server, k, CTX), own) for k, own in enumerate(private)]
    sent = any(name in record for _, upload in uploads for record in upload.payload.values() for name in NAMES)
    return Statistics(np.stack([_vector(one) for one in each]), sent)


def _vector(params: Params) -> Array:
    return np.stack([params[name].double().numpy() for name in NAMES])


def _padded(batch: Any) -> dict[str, torch.Tensor]:
    """Two rows more, which count nothing, with numbers of their own."""
    more = {key: torch.full_like(value[:2], 0 if key in ("mask", "index") else 7) for key, value in batch.items()}
    return {key: torch.cat([value, more[key]]) for key, value in batch.items()}


def inputs() -> list[Array]:
    draw = np.random.default_rng(3)
    return [draw.normal(k, 1 + k, (n, 3)) for k, n in enumerate(COUNTS)]


def own_moments() -> Array:
    """Mean and unbiased variance of each client's inputs, [2, 2, 3]."""
    return np.stack([np.stack([x.mean(0), x.var(0, ddof=1)]) for x in inputs()])


def averaged(algorithm: Any, weights: tuple[float, ...] = COUNTS) -> CheckResult:
    """Each step maps statistics s to 0.9 s + 0.1 m_k, m_k the mean and unbiased variance of client k's inputs; from
    s = (0, 1), two rounds of one step, with means by weights p, end at 0.81 (0, 1) + 0.19 Σ p_k m_k."""
    expected = 0.81 * START_MOMENTS + 0.19 * np.average(own_moments(), axis=0, weights=weights)
    return close(statistics(algorithm, 2).personal, np.stack([expected] * 2), atol=2e-6)


def own(algorithm: Any, passes: int) -> CheckResult:
    """As ``averaged``, of a personal model that takes some passes in each of two rounds, and no mean."""
    left = 0.9 ** (2 * passes)
    return close(statistics(algorithm, 2).personal, left * START_MOMENTS + (1 - left) * own_moments(), atol=2e-6)
