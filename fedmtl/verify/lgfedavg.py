"""LG-FedAvg against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.core.types import Upload
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.central import alone, central_vector
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.planted import one_model_by_gains
from fedmtl.verify.quadratic import clients, play, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def one_step_descends_on_the_mean_in_the_head(lgfedavg: Callable[..., Any]) -> CheckResult:
    """φ − η Σ p_k ∇_φ f_k(θ_k, φ), p = 6/30, 10/30, 14/30, and θ_k − η ∇_θ f_k(θ_k, φ) at home; twice, so that the
    trunks differ before the second step."""
    federation, lr = clients(), 0.125
    found = play(lgfedavg(lr=lr, epochs=1), federation, START, 2)
    w = np.stack([START] * 3)
    for _ in range(2):
        slopes = np.stack([one.gradient(own) for one, own in zip(federation, w, strict=True)])
        slopes[:, 3:] = weights(federation) @ slopes[:, 3:]
        w = w - lr * slopes
    return close(found.personal, w, atol=1e-12)


def one_client_is_central_training(lgfedavg: Callable[..., Any]) -> CheckResult:
    """The mean of one client is that client: 3 rounds of 2 epochs of 2 steps are 12 steps, bit for bit."""
    found = play(lgfedavg(lr=0.125, epochs=2), [alone()], START, 3, steps=2)
    return same_bits(found.personal[0], central_vector(alone(), START, 2, 0.125, 6))


def the_head_alone_travels(lgfedavg: Callable[..., Any]) -> CheckResult:
    """2 of a client's 5 numbers go up: the payload holds head.t.b [2] and nothing else."""
    found = play(lgfedavg(epochs=1), clients(), START, 1)
    sent = [sum(v.numel() for p in upload.payload.values() for v in p.values()) for _, upload in found.uploads]
    return close(sent, [2, 2, 2], atol=0)


def a_head_is_averaged_over_its_owners(lgfedavg: Callable[..., Any]) -> CheckResult:
    """Client 0 (1 example) owns a, client 1 (3 examples) a and b; no client owns c.

    a: (1·1 + 3·5) / 4 = 4.  b: client 1's 7.  c stays 9.
    """
    server = {f"head.{task}.w": torch.tensor(value) for task, value in (("a", -1.0), ("b", -1.0), ("c", 9.0))}
    uploads = [
        (0, Upload({"heads": {"head.a.w": torch.tensor(1.0)}}, 1.0)),
        (1, Upload({"heads": {"head.a.w": torch.tensor(5.0), "head.b.w": torch.tensor(7.0)}}, 3.0)),
    ]
    new = lgfedavg().aggregate(server, uploads, CTX)
    return every(*(close(new[f"head.{task}.w"], value, atol=0) for task, value in (("a", 4), ("b", 7), ("c", 9))))


CHECKS = (
    one_step_descends_on_the_mean_in_the_head,
    one_client_is_central_training,
    the_head_alone_travels,
    a_head_is_averaged_over_its_owners,
)

GAIN = Claim(one_model_by_gains, steps(lr=0.02))
