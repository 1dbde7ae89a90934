"""FedAMP against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, above, close, every
from fedmtl.verify.penalty_gradient import LR, SLOPE, Penalty
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import Array, clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def proximal_points(mixed: Array, strength: float) -> Array:
    """argmin f_k(w) + c/2 ‖w − u_k‖²: H(w − w*) + c(w − u) = 0, w = (H + cI)⁻¹(Hw* + cu), [K, p]."""
    return np.stack(
        [
            np.linalg.solve(one.hessian + strength * np.eye(5), one.hessian @ one.star + strength * u)
            for one, u in zip(clients(), mixed, strict=True)
        ]
    )


def attention(w: Array, alpha: float, sigma: float) -> Array:
    """ξ [K, K], entry by entry; the trunk is the first three numbers."""
    xi = np.zeros((len(w), len(w)))
    for k in range(len(w)):
        for other in range(len(w)):
            if other != k:
                gap = w[k, :3] - w[other, :3]
                xi[k, other] = alpha * np.exp(-(gap @ gap) / sigma) / sigma
        xi[k, k] = 1 - xi[k].sum()
    return xi


def strangers_are_left_at_their_own_proximal_points(fedamp: Callable[..., Any]) -> CheckResult:
    """σ = 10⁻⁶ is far below all distances, so ξ is I, u_k = w_k: each client alone iterates w <- (H + cI)⁻¹(Hw* + cw).

    c = λ/α = 0.4. 50 steps a round contract by 1 − 0.5 (0.5 + c) at least: less than 1e-12 is left. With σ = 10
    the clients end elsewhere, by more than a hundredth.
    """
    algorithm = {"lr": 0.5, "epochs": 50, "lam": 0.6, "alpha": 1.5}
    w = np.stack([START] * 3)
    for _ in range(3):
        w = proximal_points(w, 0.6 / 1.5)
    mixed = play(fedamp(**algorithm, sigma=10.0), clients(), START, 3)
    return every(
        above(float(np.abs(mixed.personal - w).max()), 0.01),
        close(play(fedamp(**algorithm, sigma=1e-6), clients(), START, 3).personal, w, atol=1e-9),
    )


def three_rounds_by_hand(fedamp: Callable[..., Any]) -> CheckResult:
    """Proximal points in closed form, ξ entry by entry, u = ξw; and again. At first all u are the initial model."""
    alpha, sigma = 1.5, 4.0
    w = mixed = np.stack([START] * 3)
    for _ in range(3):
        w = proximal_points(mixed, 0.6 / alpha)
        mixed = attention(w, alpha, sigma) @ w
    algorithm = fedamp(lr=0.5, epochs=50, lam=0.6, alpha=alpha, sigma=sigma)
    found = play(algorithm, clients(), START, 3)
    said = [algorithm.broadcast(found.server, k, CTX)["model"] for k in range(3)]
    return every(
        close(np.stack([np.concatenate([u["trunk.w"], u["head.t.b"]]) for u in said]), mixed, atol=1e-9),
        close(algorithm.diagnostics(found.server)["xi"], attention(w, alpha, sigma), atol=1e-9),
        close(found.personal, w, atol=1e-9),
    )


def steps_start_at_the_clients_own_model(fedamp: Callable[..., Any]) -> CheckResult:
    """One step a round: w <- w − η(g(w) + λ/α (w − u)) from its own w, not from u; three rounds."""
    lr, lam, alpha, sigma = 0.125, 0.9, 1.5, 4.0
    w = mixed = np.stack([START] * 3)
    for _ in range(3):
        gradients = np.stack([one.gradient(row) for one, row in zip(clients(), w, strict=True)])
        w = w - lr * (gradients + lam / alpha * (w - mixed))
        mixed = attention(w, alpha, sigma) @ w
    found = play(fedamp(lr=lr, epochs=1, lam=lam, alpha=alpha, sigma=sigma), clients(), START, 3)
    return close(found.personal, w, atol=1e-12)


def the_limit_is_stationary(fedamp: Callable[..., Any]) -> CheckResult:
    """At a fixed point, w_k − u_k = Σ_l ξ_kl (w_k − w_l), and (3) gives ∇f_k + (λ/α)(w_k − u_k) = 0: α cancels.

        ∇f_k(w_k) + λ/σ Σ_l exp(−‖θ_k − θ_l‖²/σ) (w_k − w_l) = 0

    The same equation whatever α: the left side is computed at the models of 100 rounds.
    """
    lam, sigma, parts = 0.5, 4.0, []
    for alpha in (0.5, 1.0):
        w = play(fedamp(lr=0.5, epochs=1, lam=lam, alpha=alpha, sigma=sigma), clients(), START, 100).personal
        gaps = w[:, None] - w[None]
        near = np.exp(-np.square(gaps[..., :3]).sum(-1) / sigma)
        gradients = np.stack([one.gradient(row) for one, row in zip(clients(), w, strict=True)])
        parts.append(close(gradients + lam / sigma * (near[..., None] * gaps).sum(1), np.zeros((3, 5)), atol=1e-9))
    return every(*parts)


CHECKS = (
    strangers_are_left_at_their_own_proximal_points,
    three_rounds_by_hand,
    steps_start_at_the_clients_own_model,
    the_limit_is_stationary,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(one_mean, steps(lam=1.0, alpha=4.0, sigma=64.0))


def _left(alpha: float, lam: float, sigma: float) -> float:
    """Round 1: u = start, batch 2 leaves s = 1 − ηλ/α of e. Then ξ = α/σ exp(−‖2se‖²/σ) of θ, u = (1 − 2ξ)se; two
    batches leave s² of w − u, which is 2ξse: (1 − 2ξ)s + 2ξs³."""
    s = 1 - LR * lam / alpha
    xi = alpha / sigma * float(np.exp(-np.square(2 * s * LR * SLOPE[:3]).sum() / sigma))
    return (1 - 2 * xi) * s + 2 * xi * s**3


PENALTY = Penalty(
    lambda cls: cls(lr=LR, epochs=1, lam=0.6, alpha=1.5, sigma=8.0),
    trunk=_left(1.5, 0.6, 8.0),
    head=_left(1.5, 0.6, 8.0),
)
