"""FedPer against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.central import alone, central_vector
from fedmtl.verify.check import CheckResult, close, same_bits
from fedmtl.verify.low_rank import means_of_factors_are_off_by_their_covariance
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.quadratic import Array, Quadratic, clients, play, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def joint_minimum(federation: list[Quadratic]) -> Array:
    """The minimum of Σ p_k f_k(θ, φ_k), as clients see it, [K, p]: one linear system in (θ, φ_1, …, φ_K).

    Client k's w is S_k z, where S_k picks θ and φ_k out of z; Σ p_k S_kᵀ H_k S_k z = Σ p_k S_kᵀ H_k w*_k.
    """
    trunk, head = federation[0].trunk, len(federation[0].star) - federation[0].trunk
    size = trunk + head * len(federation)
    picks, left, right = [], np.zeros((size, size)), np.zeros(size)
    for k, (one, p) in enumerate(zip(federation, weights(federation), strict=True)):
        pick = np.zeros((trunk + head, size))
        pick[:trunk, :trunk] = np.eye(trunk)
        pick[trunk:, trunk + head * k : trunk + head * (k + 1)] = np.eye(head)
        picks.append(pick)
        left += p * pick.T @ one.hessian @ pick
        right += p * pick.T @ one.hessian @ one.star
    return np.stack([pick @ np.linalg.solve(left, right) for pick in picks])


def one_step_descends_on_the_mean(fedper: Callable[..., Any]) -> CheckResult:
    """θ − η Σ p_k ∇_θ f_k(θ, φ_k), p = 6/30, 10/30, 14/30, and φ_k − η ∇_φ f_k(θ, φ_k) at home; twice, so that the
    heads differ before the second step."""
    federation, lr = clients(), 0.125
    found = play(fedper(lr=lr, epochs=1), federation, START, 2)
    w = np.stack([START] * 3)
    for _ in range(2):
        slopes = np.stack([one.gradient(row) for one, row in zip(federation, w, strict=True)])
        slopes[:, :3] = weights(federation) @ slopes[:, :3]
        w = w - lr * slopes
    return close(found.personal, w, atol=1e-12)


def it_ends_at_the_joint_minimum(fedper: Callable[..., Any]) -> CheckResult:
    """One full-batch step a round is gradient descent on Σ p_k f_k in θ and, with steps 1/p_k as long, in each φ_k: its
    fixed point is the minimum, a linear system. 500 steps of ¼ leave less than 1e-9."""
    federation = clients()
    found = play(fedper(lr=0.25, epochs=1), federation, START, 500)
    return close(found.personal, joint_minimum(federation), atol=1e-9)


def one_client_is_central_training(fedper: Callable[..., Any]) -> CheckResult:
    """The mean of one client is that client: 3 rounds of 2 epochs of 2 steps are 12 steps, bit for bit."""
    found = play(fedper(lr=0.125, epochs=2), [alone()], START, 3, steps=2)
    return same_bits(found.personal[0], central_vector(alone(), START, 2, 0.125, 6))


def the_trunk_alone_travels(fedper: Callable[..., Any]) -> CheckResult:
    """3 of a client's 5 numbers go up: the payload holds trunk.w [3] and nothing else."""
    found = play(fedper(epochs=1), clients(), START, 1)
    sent = [sum(v.numel() for p in upload.payload.values() for v in p.values()) for _, upload in found.uploads]
    return close(sent, [3, 3, 3], atol=0)


CHECKS = (
    one_step_descends_on_the_mean,
    it_ends_at_the_joint_minimum,
    one_client_is_central_training,
    the_trunk_alone_travels,
    means_of_factors_are_off_by_their_covariance,
)

GAIN = Claim(one_subspace, steps(lr=0.05))
