"""GraphStructured against its limits, and its edges against the graph's Laplacian."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.fedper import FedPer
from fedmtl.algorithms.local import Local
from fedmtl.core.types import Upload
from fedmtl.verify.beats_local import HALVES, Claim, steps
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.fixed_updates import enrolled, sent
from fedmtl.verify.penalty_gradient import LR, Penalty
from fedmtl.verify.planted import two_clusters
from fedmtl.verify.quadratic import clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def without_structure_it_is_local(graph: Callable[..., Any]) -> CheckResult:
    """Without groups, edges and common blocks, (2), (3) and (4) do nothing: Local's bits after 3 rounds."""
    found = play(graph(lr=0.125, epochs=2), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(Local(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def a_group_is_fedper_among_its_members(graph: Callable[..., Any]) -> CheckResult:
    """One group of all is FedPer; of the groups {0, 2} and {1, 3}, each is FedPer without the other; a whole trunk that
    is common to all is FedPer whatever the groups. Three rounds."""
    federation = clients(4)

    def fedper(members: list[int]) -> Any:
        return play(FedPer(lr=0.125, epochs=2), [federation[k] for k in members], START, 3, steps=2).personal

    def got(**structure: tuple[str, ...]) -> Any:
        return play(graph(lr=0.125, epochs=2, **structure), federation, START, 3, steps=2).personal

    apart = got(groups=("0 2", "3 1"))
    return every(
        close(got(groups=("3 0 1 2",)), fedper([0, 1, 2, 3]), atol=1e-12),
        close(apart[[0, 2]], fedper([0, 2]), atol=1e-12),
        close(apart[[1, 3]], fedper([1, 3]), atol=1e-12),
        close(got(groups=("0 2",), common=("trunk.",)), fedper([0, 1, 2, 3]), atol=1e-12),
    )


def edges_pull_by_the_laplacian(graph: Callable[..., Any]) -> CheckResult:
    """(3) is Θ <- (I − ρL) Θ with L = D − A, rows the clients' trunks. Three rounds of exact gradient steps."""
    federation, lr, rho = clients(4), 0.125, 0.2
    algorithm = graph(lr=lr, epochs=1, strength=rho, edges=("0-1:0.5", "2-1", "3-2:1.25", "1-0:0.25"))
    found = play(algorithm, federation, START, 3)
    a = np.zeros((4, 4))
    a[0, 1], a[1, 2], a[2, 3] = 0.75, 1, 1.25
    a += a.T
    w = np.tile(START, (4, 1))
    for _ in range(3):
        w = np.stack([one - lr * c.gradient(one) for one, c in zip(w, federation, strict=True)])
        w[:, :3] = (np.eye(4) - rho * (np.diag(a.sum(axis=1)) - a)) @ w[:, :3]
    return close(found.personal, w, atol=1e-12)


def who_is_absent(graph: Callable[..., Any]) -> CheckResult:
    """Clients 2 and 9 of 2, 4, 9, with updates (1, 0, 0) and (0, 4, 0), of 1 and 3 examples, all from 0.

    In one group with 4, all have (¼, 3, 0). With the edges 2-4 and 4-9 and ρ = ¼ instead, 2 and 9 come a quarter
    nearer to 4, which was not there and stays at 0.
    """
    params = {"trunk.w": torch.zeros(3, dtype=torch.float64), "head.t.b": torch.zeros(1)}
    deltas, counts = {2: np.array([1.0, 0, 0]), 9: np.array([0.0, 4, 0])}, {2: 1, 9: 3}
    expected = {("2 4 9",): np.tile([0.25, 3, 0], (3, 1)), (): np.array([[0.75, 0, 0], [0, 0, 0], [0, 3, 0]])}
    parts = []
    for groups, trunks in expected.items():
        algorithm = graph(strength=0.25, groups=groups, edges=() if groups else ("2-4", "4-9"))
        server = enrolled(algorithm, (2, 4, 9), params)
        server = algorithm.aggregate(server, sent(algorithm, server, deltas, counts), CTX)
        got = np.stack([algorithm.broadcast(server, k, CTX)["trunk"]["trunk.w"].numpy() for k in (2, 4, 9)])
        parts.append(close(got, trunks, atol=1e-12))
    return every(*parts)


def a_tree_shares_block_by_block(graph: Callable[..., Any]) -> CheckResult:
    """A trunk of two numbers, the root common to all, the middle the group's; clients 0 and 1 are one group, 2 none.
    They upload (1, 1), (2, 5), (6, 7), of 1, 3 and 4 examples: the root is (1 + 6 + 24) / 8 = 31/8 for all, the middle
    (1 + 15) / 4 = 4 for the group, and 7."""
    algorithm = graph(groups=("0 1",), common=("trunk.root.",))
    server = enrolled(algorithm, (0, 1, 2), {"trunk.root.w": torch.zeros(1), "trunk.middle.w": torch.zeros(1)})
    uploads = [
        (k, Upload({"trunk": {"trunk.root.w": torch.tensor([root]), "trunk.middle.w": torch.tensor([middle])}}, n))
        for k, (root, middle, n) in enumerate([(1.0, 1.0, 1), (2.0, 5.0, 3), (6.0, 7.0, 4)])
    ]
    server = algorithm.aggregate(server, uploads, CTX)
    trunks = [algorithm.broadcast(server, k, CTX)["trunk"] for k in range(3)]
    got = [[float(trunk[f"trunk.{part}.w"]) for part in ("root", "middle")] for trunk in trunks]
    return close(got, [[31 / 8, 4], [31 / 8, 4], [31 / 8, 7]], atol=1e-6)


def structures_that_make_no_sense_are_refused(graph: Callable[..., Any]) -> CheckResult:
    """With an edge of weight a, θ_0 − θ_1 becomes (1 − 2ρa) of itself, so beyond ρa = 1 it grows; and a client has one
    group, not two. Of these seven fields, none is taken; ρa = 1 is."""
    graph(strength=0.5, edges=("0-1", "0-2"))
    wrong: list[dict[str, Any]] = [
        {"strength": 0.6, "edges": ("0-1", "0-2")},
        {"groups": ("0 1", "1 2")},
        {"groups": ("0 -1",)},
        {"edges": ("1-1",)},
        {"edges": ("0-1:0",)},
        {"edges": ("0-1:inf",)},
        {"common": ("head.",)},
    ]
    refused = 0
    for fields in wrong:
        try:
            graph(**fields)
        except ValueError:
            refused += 1
    return close(refused, len(wrong), atol=0)


CHECKS = (
    without_structure_it_is_local,
    a_group_is_fedper_among_its_members,
    edges_pull_by_the_laplacian,
    who_is_absent,
    a_tree_shares_block_by_block,
    structures_that_make_no_sense_are_refused,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(two_clusters, steps(groups=HALVES))

# Two rounds of θ_k − ρ (θ_k − θ_l): (1 − 2ρ)²; φ stays.
PENALTY = Penalty(lambda cls: cls(lr=LR, epochs=1, strength=0.1, edges=("0-1",)), 0.8**2, 1.0)
