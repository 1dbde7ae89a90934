"""FedU against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.base import first_server
from fedmtl.algorithms.local import Local
from fedmtl.core.types import Upload
from fedmtl.verify.beats_local import PAIRS, Claim, steps
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.penalty_gradient import LR, Penalty
from fedmtl.verify.planted import two_clusters
from fedmtl.verify.quadratic import Array, clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def descended(w: Array, steps: int, lr: float) -> Array:
    """Each client's ``steps`` plain gradient steps from its row of w [K, p]."""
    for _ in range(steps):
        w = np.stack([row - lr * one.gradient(row) for row, one in zip(w, clients(), strict=True)])
    return w


def without_a_pull_it_is_local(fedu: Callable[..., Any]) -> CheckResult:
    """β = 0: (2) adds 0 to each model, so 3 rounds of 2 epochs of 2 steps have Local's bits."""
    found = play(fedu(lr=0.125, epochs=2, beta=0.0), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(Local(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def the_complete_graph_pulls_to_the_mean_as_mr_mtl_does(fedu: Callable[..., Any]) -> CheckResult:
    """a = 1 for all m clients: Σ_l (w_k − w_l) = m w_k − Σ_l w_l = m (w_k − w̄).

    So (2) is w_k − ηR λ (w_k − w̄), a step of length ηR on MR-MTL's penalty λ/2 ‖w_k − w̄‖² with λ = βm and a plain
    mean. Two rounds of R = 2 passes of 2 steps, by hand.
    """
    lr, beta, w = 0.125, 0.3, np.stack([START] * 3)
    for _ in range(2):
        w = descended(w, 4, lr)
        w = w - lr * 2 * (beta * 3) * (w - w.mean(0))
    return close(play(fedu(lr=lr, epochs=2, beta=beta), clients(), START, 2, steps=2).personal, w, atol=1e-12)


def the_limit_is_mr_mtls_minimum(fedu: Callable[..., Any]) -> CheckResult:
    """R = 1, complete graph: rounds stop at the minimum of MR-MTL's J with λ' = λ/(1 − ηλ), λ = βm.

    There v = w − ηg and w = v − ηλ(v − v̄). The mean over clients: w̄ = v̄ and ḡ = 0. Hence w − w̄ = (1 − ηλ)(w − w̄ − ηg),
    that is g_k = −λ' (w_k − w̄): J = Σ f_k(w_k) + λ'/2 Σ ‖w_k − w̄‖² has this gradient 0. With η → 0, λ' → λ.
    The system H_k(w_k − w*_k) + λ'(w_k − w̄) = 0 is linear. 100 rounds contract by 1 − 0.5·0.5 at least.
    """
    lr, beta, federation = 0.5, 0.3, clients()
    strength = 3 * beta / (1 - lr * 3 * beta)
    middle = np.eye(15) - np.kron(np.ones((3, 3)) / 3, np.eye(5))
    system = strength * middle
    for k, one in enumerate(federation):
        system[5 * k : 5 * k + 5, 5 * k : 5 * k + 5] += one.hessian
    right = np.concatenate([one.hessian @ one.star for one in federation])
    found = play(fedu(lr=lr, epochs=1, beta=beta), federation, START, 100)
    return close(found.personal, np.linalg.solve(system, right).reshape(3, 5), atol=1e-9)


def a_given_graph_has_its_laplacian(fedu: Callable[..., Any]) -> CheckResult:
    """Edges 0 – 1 of weight 1 and 1 – 2 of weight ½, R = 2: W <- (I − ηRβL) W with L the Laplacian
    [[1, −1, 0], [−1, 3/2, −½], [0, −½, ½]]; three rounds."""
    lr, beta, w = 0.125, 0.5, np.stack([START] * 3)
    laplacian = np.array([[1.0, -1.0, 0.0], [-1.0, 1.5, -0.5], [0.0, -0.5, 0.5]])
    for _ in range(3):
        w = (np.eye(3) - lr * 2 * beta * laplacian) @ descended(w, 2, lr)
    found = play(fedu(lr=lr, epochs=2, beta=beta, edges=("0-1", "2-1:0.5")), clients(), START, 3)
    return close(found.personal, w, atol=1e-12)


def an_absent_client_stays_and_heads_keep_to_their_tasks(fedu: Callable[..., Any]) -> CheckResult:
    """Trunks 0, 4, 10 and one head, 1 and 3, of clients 0 and 1; client 0 comes with trunk 2 and head 7. ηRβ = ⅛.

    Complete graph: its trunk becomes 2 + ⅛ (4 − 2 + 10 − 2) = 3.25, its head 7 + ⅛ (3 − 7) = 6.5; the others do not
    move.
    """
    algorithm = fedu(lr=0.25, epochs=1, beta=0.5)
    trunks, heads = [0.0, 4.0, 10.0], [1.0, 3.0, None]

    def model(trunk: float, head: float | None) -> dict[str, torch.Tensor]:
        return {"trunk.w": torch.tensor([trunk])} | ({} if head is None else {"head.t.b": torch.tensor([head])})

    server = first_server(algorithm, model(0.0, 1.0), {k: model(trunks[k], heads[k]) for k in range(3)}, CTX)
    server = algorithm.aggregate(server, [(0, Upload({"model": model(2.0, 7.0)}, 5.0))], CTX)
    said = [algorithm.broadcast(server, k, CTX)["model"] for k in range(3)]
    return every(
        close([float(one["trunk.w"]) for one in said], [3.25, 4, 10], atol=1e-6),
        close([float(one["head.t.b"]) for one in said[:2]], [6.5, 3], atol=1e-6),
        same_bits(np.array([len(one) for one in said]), np.array([2, 2, 1])),
    )


CHECKS = (
    without_a_pull_it_is_local,
    the_complete_graph_pulls_to_the_mean_as_mr_mtl_does,
    the_limit_is_mr_mtls_minimum,
    a_given_graph_has_its_laplacian,
    an_absent_client_stays_and_heads_keep_to_their_tasks,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(two_clusters, steps(beta=0.05, edges=PAIRS))

# Two rounds of w_k − ηRβ (w_k − w_l), and w_k − w_l = 2e_k: (1 − 2ηβ)².
PENALTY = Penalty(lambda cls: cls(lr=LR, epochs=1, beta=0.8), 0.8**2, 0.8**2)
