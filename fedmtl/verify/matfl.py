"""MaTFL against its two limits, and groups planted in its clients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.fedper import FedPer
from fedmtl.algorithms.local import Local
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, close, every
from fedmtl.verify.fixed_updates import LR, cosine_matrix, enrolled, planted, sent
from fedmtl.verify.planted import two_clusters
from fedmtl.verify.quadratic import clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def one_group_is_fedper(matfl: Callable[..., Any]) -> CheckResult:
    """With one group, (4) is the mean of the cohort: 3 rounds of 2 epochs of 2 steps are FedPer's."""
    found = play(matfl(lr=0.125, epochs=2, groups=1), clients(), START, 3, steps=2)
    return close(found.personal, play(FedPer(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal, atol=1e-12)


def a_group_for_each_is_local(matfl: Callable[..., Any]) -> CheckResult:
    """As many groups as clients leave each alone in (4), and so do more: 3 rounds are Local's."""
    expected = play(Local(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal
    parts = [play(matfl(lr=0.125, epochs=2, groups=groups), clients(), START, 3, steps=2) for groups in (3, 7)]
    return every(*(close(part.personal, expected, atol=1e-12) for part in parts))


def planted_groups_are_found(matfl: Callable[..., Any]) -> CheckResult:
    """Clients 0, 2, 5 head for (1, 2, 0) and 1, 3, 4 for (0, −1, 2), each a tenth off. From their mean they point in
    opposite directions, and two groups are these; a trunk is the mean of its group, weighted by examples."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (6, 3))
    ways = np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 2.0]])
    group, counts = np.array([0, 1, 0, 1, 1, 0]), np.array([6, 10, 4, 8, 3, 12])
    deltas = ways[group] + noise
    algorithm = matfl(lr=LR, epochs=1, groups=2)
    federation = planted(np.hstack([deltas, np.zeros((6, 2))]), counts.tolist())
    found = play(algorithm, federation, np.zeros(5), 1)
    means = [np.average(deltas[group == g], axis=0, weights=counts[group == g]) for g in (0, 1)]
    estimates = algorithm.diagnostics(found.server)
    strays = deltas - np.average(deltas, axis=0, weights=counts)
    return every(
        close(estimates["group"], group, atol=0),
        close(estimates["cosine"], cosine_matrix(strays), atol=1e-6),
        close(found.personal[:, :3], np.stack(means)[group], atol=1e-12),
    )


def linkage_is_average(matfl: Callable[..., Any]) -> CheckResult:
    """Four unit vectors in a plane, at 105°, 120°, 210° and 255°, and a fifth that makes their sum 0, so that each is
    its own δ; two groups. 1 − cos is 0.034 of the first two, which join; 0.293 of the next two, which join. Then

        {1, 2} with {3, 4}: from 1.000 to 1.866, mean 1.458
        {1, 2} with {5}:    1.438 and 1.656,     mean 1.547
        {3, 4} with {5}:    1.755 and 1.070,     mean 1.412, the least

    The nearest pair would have joined the first two, the least of the farthest pairs the second.
    """
    angles = np.radians([105, 120, 210, 255])
    deltas = np.stack([np.cos(angles), np.sin(angles), np.zeros(4)], axis=1)
    deltas = np.concatenate([deltas, -deltas.sum(axis=0, keepdims=True)])
    algorithm = matfl(groups=2)
    params = {"trunk.w": torch.zeros(3, dtype=torch.float64), "head.t.b": torch.zeros(1)}
    server = enrolled(algorithm, range(5), params)
    server = algorithm.aggregate(
        server, sent(algorithm, server, dict(enumerate(deltas)), dict.fromkeys(range(5), 2)), CTX
    )
    return close(algorithm.diagnostics(server)["group"], [0, 0, 1, 1, 1], atol=0)


def who_is_absent_keeps_its_trunk(matfl: Callable[..., Any]) -> CheckResult:
    """Client 4 of 2, 4, 9 is in the first round alone: its trunk stays the mean of 2 and 4 then, its group is −1
    and its cosines are 0 in the second, where 2 and 9 are on opposite sides of their mean: two groups. Before the first
    round, all groups are −1."""
    algorithm = matfl(groups=2)
    params = {"trunk.w": torch.zeros(3, dtype=torch.float64), "head.t.b": torch.zeros(1)}
    server = enrolled(algorithm, (2, 4, 9), params)
    before = algorithm.diagnostics(server)["group"]
    counts = {2: 1, 4: 2, 9: 5}
    same, near = np.array([1.0, 1.0, 0.0]), np.array([0.9, 1.0, 0.1])
    server = algorithm.aggregate(server, sent(algorithm, server, {2: same, 4: near, 9: -same}, counts), CTX)
    first = (1 * same + 2 * near) / 3
    server = algorithm.aggregate(server, sent(algorithm, server, {2: same, 9: same}, counts), CTX)
    trunks = np.stack([algorithm.broadcast(server, k, CTX)["trunk"]["trunk.w"].numpy() for k in (2, 4, 9)])
    estimates = algorithm.diagnostics(server)
    return every(
        close(before, [-1, -1, -1], atol=0),
        close(trunks, np.stack([first + same, first, 0 * same]), atol=1e-12),
        close(estimates["group"], [0, -1, 1], atol=0),
        close(estimates["cosine"], [[1, 0, -1], [0, 0, 0], [-1, 0, 1]], atol=1e-6),
    )


CHECKS = (
    one_group_is_fedper,
    a_group_for_each_is_local,
    planted_groups_are_found,
    linkage_is_average,
    who_is_absent_keeps_its_trunk,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(two_clusters, steps(groups=2))
