"""IFCA against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.base import first_server
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.core.types import Batch, Params, Upload
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.noise import server_normals
from fedmtl.verify.planted import two_clusters
from fedmtl.verify.quadratic import Array, Quadratic, clients, play, vector

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def first_models(count: int, spread: float) -> Array:
    """w_0 = w, w_j = w + s √(mean w²) ε_j, name by name: the trunk is the first three numbers, the head the others."""
    models = [START]
    for j in range(1, count):
        parts = []
        for name, w in (("trunk.w", START[:3]), ("head.t.b", START[3:])):
            parts.append(w + spread * np.sqrt(np.mean(w**2)) * server_normals(1, (j, name), len(w)))
        models.append(np.concatenate(parts))
    return np.stack(models)


def value(one: Quadratic, w: Array) -> float:
    return float((w - one.star) @ one.hessian @ (w - one.star) / 2)


def one_cluster_is_fedavg(ifca: Callable[..., Any]) -> CheckResult:
    """K = 1: the choice is free, (2) and (3) are FedAvg's, so 3 rounds of 2 epochs of 2 steps have FedAvg's bits."""
    found = play(ifca(lr=0.125, epochs=2, clusters=1), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(FedAvg(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def rounds_by_hand(ifca: Callable[..., Any]) -> CheckResult:
    """3 rounds of 5 clients and 5 models: noise, choice by the value of f_k, 2 steps, means weighted by n_k.

    A model that no client chose stays. Compared are the clients' models and choices, after each number of rounds.
    """
    federation, lr, parts = clients(5), 0.125, []
    algorithm = ifca(lr=lr, epochs=2, clusters=5, spread=1.5)
    models = first_models(5, 1.5)
    for rounds in (1, 2, 3):
        chosen = np.array([np.argmin([value(one, w) for w in models]) for one in federation])
        trained = models[chosen]
        for _ in range(2):
            trained = np.stack([w - lr * one.gradient(w) for one, w in zip(federation, trained, strict=True)])
        sizes = np.array([one.num_examples for one in federation], np.float64)
        for j in set(chosen.tolist()):
            models[j] = np.average(trained[chosen == j], axis=0, weights=sizes[chosen == j])
        found = play(algorithm, federation, START, rounds)
        parts.append(close(algorithm.diagnostics(found.server)["cluster"], chosen, atol=0))
        parts.append(close(np.stack([vector(w) for w in found.server.models]), models, atol=1e-12))
        parts.append(close(found.personal, models[chosen], atol=1e-12))
    return every(*parts)


def planted_clusters_are_found(ifca: Callable[..., Any]) -> CheckResult:
    """Minima near c and near −c, in turns: each group agrees on its own minimum of Σ n_k f_k.

    One full-batch step a round makes (2) and (3) a gradient step on Σ n_k f_k / Σ n_k of the group, whose minimum is
    (Σ n_k H_k)⁻¹ Σ n_k H_k w*_k; 90 steps of ½ with eigenvalues of ½ to 2 leave 0.75⁹⁰ < 1e-11.
    """
    centre = np.array([1.0, -1.0, 2.0, 0.5, 1.5])
    signs = np.array([1, -1, 1, -1, -1, 1])
    federation = [
        one._replace(star=sign * centre + 0.1 * one.star) for sign, one in zip(signs, clients(6), strict=True)
    ]
    algorithm = ifca(lr=0.5, epochs=1, clusters=2)
    found = play(algorithm, federation, START, 90)
    expected = np.zeros((6, 5))
    for sign in (1, -1):
        group = [one for s, one in zip(signs, federation, strict=True) if s == sign]
        left = sum(one.num_examples * one.hessian for one in group)
        right = sum((one.num_examples * one.hessian @ one.star for one in group), np.zeros(5))
        expected[signs == sign] = np.linalg.solve(left, right)
    cluster = algorithm.diagnostics(found.server)["cluster"].numpy()
    return every(
        close(cluster == cluster[0], signs == signs[0], atol=0),
        close(found.personal, expected, atol=1e-9),
    )


def the_choice_counts_examples_not_batches(ifca: Callable[..., Any]) -> CheckResult:
    """Squared error to the examples 0, 0, 0, 0 and, in a batch of its own beside padding, 10; then a batch of padding.

    Per example, the model 0 is off by 100/5 = 20 and the model 5 by 25. A mean over batches would say 50 and
    25.
    With 8 instead of 10 and the order of models turned: 64/5 = 12.8 against (4·25 + 9)/5 = 21.8.
    """
    algorithm, parts = ifca(clusters=2), []

    def loss(params: Params, batch: Batch) -> Tensor:
        return ((params["trunk.w"] - batch["x"]) ** 2 * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1)

    for far, models in ((10.0, (0.0, 5.0)), (8.0, (5.0, 0.0))):
        batches = [
            {"x": torch.zeros(4), "mask": torch.ones(4)},
            {"x": torch.tensor([far, 9.0, 9.0, 9.0]), "mask": torch.tensor([1.0, 0.0, 0.0, 0.0])},
            {"x": torch.full((4,), 9.0), "mask": torch.zeros(4)},
        ]
        server = first_server(algorithm, {"trunk.w": torch.ones(1)}, {0: {"trunk.w": torch.ones(1)}}, CTX)
        down = algorithm.broadcast(server, 0, CTX)
        down = {record: {"trunk.w": torch.tensor([w])} for record, w in zip(down, models, strict=True)}
        sent = algorithm.local_update(loss, down, None, batches, CTX).upload
        after = algorithm.aggregate(server, [(0, Upload(sent.payload, float(sent.num_examples)))], CTX)
        parts.append(close(algorithm.diagnostics(after)["cluster"], [models.index(0.0)], atol=0))
    return every(*parts)


CHECKS = (
    one_cluster_is_fedavg,
    rounds_by_hand,
    planted_clusters_are_found,
    the_choice_counts_examples_not_batches,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(two_clusters, steps(clusters=2))
