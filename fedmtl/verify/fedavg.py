"""FedAvg against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.core.types import Upload
from fedmtl.verify.batch_norm import averaged
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.central import alone, central_vector
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.low_rank import means_of_factors_are_off_by_their_covariance
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import clients, play, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def one_step_descends_on_the_mean(fedavg: Callable[..., Any]) -> CheckResult:
    """Σ p_k (w − η ∇f_k(w)) = w − η Σ p_k ∇f_k(w), with p = 6/30, 10/30, 14/30: the gradient of Σ p_k f_k."""
    federation, lr = clients(), 0.125
    found = play(fedavg(lr=lr, epochs=1), federation, START, 1)
    slope = weights(federation) @ np.stack([one.gradient(START) for one in federation])
    return close(found.personal, np.stack([START - lr * slope] * 3), atol=1e-12)


def one_client_is_central_training(fedavg: Callable[..., Any]) -> CheckResult:
    """The mean of one client is that client: 3 rounds of 2 epochs of 2 steps are 12 steps, bit for bit."""
    found = play(fedavg(lr=0.125, epochs=2), [alone()], START, 3, steps=2)
    return same_bits(found.personal[0], central_vector(alone(), START, 2, 0.125, 6))


def local_epochs_move_the_fixed_point(fedavg: Callable[..., Any]) -> CheckResult:
    """E steps of client k map w to w*_k + A_k (w − w*_k), A_k = (I − ηH_k)^E. Rounds converge to the fixed point of the
    mean, Σ p_k (I − A_k)(w − w*_k) = 0, which for E = 6 is not the minimum of Σ p_k f_k.

    η ¼, H ≥ ½: a round contracts by (7/8)^6 < 0.45, so 60 rounds leave 1e-20.
    """
    federation, lr, epochs = clients(), 0.25, 6
    found = play(fedavg(lr=lr, epochs=epochs), federation, START, 60)
    moved = [np.eye(5) - np.linalg.matrix_power(np.eye(5) - lr * one.hessian, epochs) for one in federation]
    share = weights(federation)
    left = sum(p * m for p, m in zip(share, moved, strict=True))
    right = sum(p * m @ one.star for p, m, one in zip(share, moved, federation, strict=True))
    return close(found.personal[0], np.linalg.solve(left, right), atol=1e-10)


def a_head_is_averaged_over_its_owners(fedavg: Callable[..., Any]) -> CheckResult:
    """Client 0 (1 example) owns a, client 1 (3) owns a and b, client 2 (4) owns b; no client owns c.

    θ: (1·8 + 3·0 + 4·2) / 8 = 2.  a: (1·1 + 3·5) / 4 = 4.  b: (3·7 + 4·0) / 7 = 3.  c stays 9.
    """

    def scalars(*values: tuple[str, float]) -> dict[str, torch.Tensor]:
        return {name: torch.tensor(value) for name, value in values}

    server = scalars(("trunk.w", -1.0), ("head.a.w", -1.0), ("head.b.w", -1.0), ("head.c.w", 9.0))
    uploads = [
        (0, Upload({"model": scalars(("trunk.w", 8.0), ("head.a.w", 1.0))}, 1.0)),
        (1, Upload({"model": scalars(("trunk.w", 0.0), ("head.a.w", 5.0), ("head.b.w", 7.0))}, 3.0)),
        (2, Upload({"model": scalars(("trunk.w", 2.0), ("head.b.w", 0.0))}, 4.0)),
    ]
    new = fedavg().aggregate(server, uploads, CTX)
    expected = scalars(("trunk.w", 2.0), ("head.a.w", 4.0), ("head.b.w", 3.0), ("head.c.w", 9.0))
    return every(*(close(new[name].numpy(), value.numpy(), atol=0) for name, value in expected.items()))


def running_statistics_are_averaged(fedavg: Callable[..., Any]) -> CheckResult:
    """Each step maps statistics s to 0.9 s + 0.1 m_k, m_k the mean and unbiased variance of client k's inputs; from
    s = (0, 1), two rounds of one step, with means by n = 6 and 10, end at 0.81 (0, 1) + 0.19 Σ p_k m_k."""
    return averaged(fedavg(lr=0.1, epochs=1))


CHECKS = (
    one_step_descends_on_the_mean,
    one_client_is_central_training,
    local_epochs_move_the_fixed_point,
    a_head_is_averaged_over_its_owners,
    running_statistics_are_averaged,
    means_of_factors_are_off_by_their_covariance,
)

GAIN = Claim(one_mean, steps())
