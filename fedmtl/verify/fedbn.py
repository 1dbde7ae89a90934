"""FedBN against closed forms, on quadratics whose numbers are a small network's parameters."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fedmtl.core.types import Batch, Params
from fedmtl.verify.batch_norm import START_MOMENTS, own_moments, statistics
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.planted import one_model_by_norms
from fedmtl.verify.quadratic import Array, Quadratic, clients, weights

SHAPES: Mapping[str, tuple[int, ...]] = {
    "trunk.0.weight": (2, 1),
    "trunk.0.bias": (2,),
    "trunk.1.weight": (2,),
    "trunk.1.bias": (2,),
    "head.t.weight": (1, 2),
    "head.t.bias": (1,),
}
"""A linear layer, a norm layer, and a linear head."""
NORM = np.array([4, 5, 6, 7])
"""Positions of the norm layer among the 11 numbers."""
START = np.linspace(-1, 1, 11)


def params_of(w: Array) -> dict[str, Tensor]:
    """The 11 numbers by name."""
    ends = np.cumsum([0, *(prod(shape) for shape in SHAPES.values())])
    parts = zip(SHAPES.items(), pairwise(ends), strict=True)
    return {name: torch.tensor(w[a:b]).reshape(shape) for (name, shape), (a, b) in parts}


def vector_of(params: Params) -> Tensor:
    return torch.cat([params[name].reshape(-1) for name in SHAPES])


class Rounds(NamedTuple):
    private: list[Params]
    """Private state of each client after its last update, before the server took the means."""
    personal: Array
    """Parameters that each client predicts with afterwards, [K, 11]."""


def rounds(algorithm: Any, federation: list[Quadratic], count: int) -> Rounds:
    """Rounds of all clients, one full batch an epoch, from START."""
    server = algorithm.init_server(params_of(START), CTX)
    private = [algorithm.init_client(params_of(START), one.num_examples) for one in federation]
    for _ in range(count):
        results = []
        for k, one in enumerate(federation):

            def loss(params: Params, batch: Batch, one: Quadratic = one) -> Tensor:
                gap = vector_of(params) - torch.as_tensor(one.star)
                return gap @ torch.as_tensor(one.hessian) @ gap / 2

            results.append(
                algorithm.local_update(loss, algorithm.broadcast(server, k, CTX), private[k], one.batches(1), CTX)
            )
        private = [result.private for result in results]
        server = algorithm.aggregate(server, [(k, result.upload) for k, result in enumerate(results)], CTX)
    each = [algorithm.personal_params(algorithm.broadcast(server, k, CTX), own) for k, own in enumerate(private)]
    return Rounds(private, np.stack([vector_of(params).numpy() for params in each]))


def rounds_by_hand(fedbn: Callable[..., Any]) -> CheckResult:
    """3 rounds of 2 steps w − η H (w − w*): afterwards the means Σ p_k w_k in all numbers but the norm layer's four."""
    federation, lr = clients(trunk=8, head=3), 0.125
    w = np.stack([START] * 3)
    for _ in range(3):
        for _ in range(2):
            w = w - lr * np.stack([one.gradient(own) for one, own in zip(federation, w, strict=True)])
        mean = np.tile(weights(federation) @ w, (3, 1))
        mean[:, NORM] = w[:, NORM]
        w = mean
    return close(rounds(fedbn(lr=lr, epochs=2), federation, 3).personal, w, atol=1e-12)


def aggregation_leaves_norm_layers_alone(fedbn: Callable[..., Any]) -> CheckResult:
    """The norm layer that a client predicts with after the server's round has the bits of its private state, in four
    numbers."""
    found = rounds(fedbn(lr=0.125, epochs=2), clients(trunk=8, head=3), 2)
    names = ["trunk.1.weight", "trunk.1.bias"]
    kept = [torch.cat([own[name] for name in names]).numpy() for own in found.private]
    return every(
        close([len(own) for own in found.private], [2, 2, 2], atol=0),
        same_bits(found.personal[:, NORM], np.stack(kept)),
    )


def norm_layers_are_known_by_shape(fedbn: Callable[..., Any]) -> CheckResult:
    """A network with every kind of layer: GroupNorm 2, LayerNorm over two dimensions 2, RMSNorm 1, BatchNorm 2 make
    7 private names; convolution, linear maps (to one number too) and embedding have none."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.GroupNorm(2, 4),
        nn.LayerNorm([4, 4]),
        nn.RMSNorm(4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Linear(1, 1),
        nn.Linear(4, 1),
        nn.Embedding(3, 4),
    )
    params = {f"trunk.{name}": value.detach() for name, value in network.named_parameters()}
    private, shared = fedbn().init_client(params, 1), fedbn().init_server(params, CTX)
    expected = [name for name in params if name.split(".")[1] in "1234"]
    return close(
        [sorted(private) == sorted(expected), len(private), len({*private, *shared})], [1, 7, len(params)], atol=0
    )


def running_statistics_are_private(fedbn: Callable[..., Any]) -> CheckResult:
    """Each step maps a client's statistics s to 0.9 s + 0.1 m_k, m_k the mean and unbiased variance of its inputs; from
    s = (0, 1), two rounds of one step end at 0.81 (0, 1) + 0.19 m_k, and no upload holds a statistic."""
    found = statistics(fedbn(lr=0.1, epochs=1), 2)
    expected = 0.81 * START_MOMENTS + 0.19 * own_moments()
    return every(close([found.sent], [0], atol=0), close(found.personal, expected, atol=2e-6))


CHECKS = (
    rounds_by_hand,
    aggregation_leaves_norm_layers_alone,
    norm_layers_are_known_by_shape,
    running_statistics_are_private,
)

GAIN = Claim(one_model_by_norms, steps(lr=0.02))
