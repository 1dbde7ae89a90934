"""pFedMe against the Moreau envelopes of quadratics.

The minimum over θ of f(θ) + λ/2 ‖θ − w‖² is at θ = (H + λI)⁻¹(Hw* + λw), so that w − θ = (H + λI)⁻¹H(w − w*). Put in,

    F(w) = λ/2 (w − w*)ᵀ H(H + λI)⁻¹ (w − w*)          ∇F(w) = λ H(H + λI)⁻¹ (w − w*)          (1)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.batch_norm import START_MOMENTS, own_moments, statistics
from fedmtl.verify.beats_local import Claim
from fedmtl.verify.check import CheckResult, close, every
from fedmtl.verify.penalty_gradient import LR, Penalty
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import Array, Quadratic, clients, play, vector

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def envelope(one: Quadratic, lam: float) -> Array:
    """The matrix of (1)."""
    return lam * one.hessian @ np.linalg.inv(one.hessian + lam * np.eye(len(one.star)))


def a_step_is_along_the_envelope(pfedme: Callable[..., Any]) -> CheckResult:
    """Many proximal steps, one batch: λ(w − θ_k) is ∇F_k(w), and w_k = w − η∇F_k(w), with ∇F_k of (1).

    Every direction contracts to |1 − 0.235 (h + λ)| ≤ 0.18 a step, h of 1/2 to 2: 15 steps leave 1e-11.
    """
    federation, lam, shared_lr = clients(), 3.0, 0.25
    found = play(pfedme(lr=0.235, shared_lr=shared_lr, epochs=1, steps=15, lam=lam), federation, START, 1)
    slopes = np.stack([envelope(one, lam) @ (START - one.star) for one in federation])
    sent = np.stack([vector(upload.payload["model"]) for _, upload in found.uploads])
    return every(
        close(lam * (START - found.personal), slopes, atol=1e-9), close(sent, START - shared_lr * slopes, atol=1e-9)
    )


def clients_predict_at_the_proximal_point(pfedme: Callable[..., Any]) -> CheckResult:
    """Two batches: θ_k = (H + λI)⁻¹(Hw* + λw_k) for the w_k of the second, START − η∇F_k(START)."""
    federation, lam, shared_lr = clients(), 3.0, 0.25
    found = play(pfedme(lr=0.235, shared_lr=shared_lr, epochs=1, steps=15, lam=lam), federation, START, 1, steps=2)
    points = []
    for one in federation:
        w = START - shared_lr * envelope(one, lam) @ (START - one.star)
        points.append(np.linalg.solve(one.hessian + lam * np.eye(5), one.hessian @ one.star + lam * w))
    return close(found.personal, np.stack(points), atol=1e-9)


def the_shared_model_minimises_the_envelopes(pfedme: Callable[..., Any]) -> CheckResult:
    """One batch a round is gradient descent on 1/K Σ F_k: it ends where Σ E_k w = Σ E_k w*_k, E_k the matrix of (1).

    E_k has eigenvalues of 3/7 to 6/5 for λ = 3: a round of η = 1.2 leaves 0.49 of the error, 40 rounds 1e-12 of it. The
    proximal steps leave 0.18 of theirs, 15 steps 1e-11 of it.
    """
    federation, lam = clients(), 3.0
    found = play(pfedme(lr=0.235, shared_lr=1.2, epochs=1, steps=15, lam=lam), federation, START, 40)
    matrices = [envelope(one, lam) for one in federation]
    right = sum(matrix @ one.star for matrix, one in zip(matrices, federation, strict=True))
    return close(vector(found.server), np.linalg.solve(np.sum(matrices, axis=0), right), atol=1e-9)


def rounds_by_hand(pfedme: Callable[..., Any]) -> CheckResult:
    """2 rounds of 2 epochs of 2 batches in numpy, each 2 inexact steps from θ = w_k; β = 1.5, a plain mean of w_k."""
    federation, lr, shared_lr, lam, beta = clients(), 0.125, 0.25, 3.0, 1.5
    algorithm = pfedme(lr=lr, shared_lr=shared_lr, epochs=2, steps=2, lam=lam, beta=beta)
    found = play(algorithm, federation, START, 2, steps=2)
    shared, personal = START, [START] * 3
    for _ in range(2):
        ends = []
        for k, one in enumerate(federation):
            w = shared
            for _ in range(4):
                theta = w - lr * one.gradient(w)
                theta = theta - lr * (one.gradient(theta) + lam * (theta - w))
                w, personal[k] = w - shared_lr * lam * (w - theta), theta
            ends.append(w)
        shared = shared + beta * (np.mean(ends, axis=0) - shared)
    return every(close(vector(found.server), shared, atol=1e-12), close(found.personal, np.stack(personal), atol=1e-12))


def running_statistics_are_not_pulled(pfedme: Callable[..., Any]) -> CheckResult:
    """K = 3 steps map statistics s of BatchNorm to 0.729 s + 0.271 m_k, m_k the mean and unbiased variance of client
    k's inputs. w_k takes them, and w their plain mean, whatever λ, η, β are; a client predicts with round 2's θ_k."""
    first = 0.729 * START_MOMENTS + 0.271 * own_moments().mean(0)
    found = statistics(pfedme(lr=0.01, shared_lr=0.01, epochs=1, steps=3, lam=15.0, beta=0.5), 2)
    return close(found.personal, 0.729 * first + 0.271 * own_moments(), atol=2e-6)


CHECKS = (
    a_step_is_along_the_envelope,
    clients_predict_at_the_proximal_point,
    the_shared_model_minimises_the_envelopes,
    rounds_by_hand,
    running_statistics_are_not_pulled,
)

GAIN = Claim(one_mean, lambda cls: cls(lr=0.02, shared_lr=0.05, epochs=2))


def _moreau(lam: float, steps: int, shared_lr: float) -> float:
    """K steps on g + λ(θ − w) from w go to w − g/λ (1 − (1 − η_θλ)^K); w follows by ηλ times that way; in flat batches
    θ stays at w. In units of e, of length η_θ: η/η_θ (1 − (1 − η_θλ)^K)."""
    return shared_lr / LR * (1 - (1 - LR * lam) ** steps)


PENALTY = Penalty(
    lambda cls: cls(lr=LR, shared_lr=0.25, epochs=1, steps=3, lam=2.0),
    trunk=_moreau(2.0, 3, 0.25),
    head=_moreau(2.0, 3, 0.25),
    clients=1,
)
