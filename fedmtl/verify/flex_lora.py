"""FlexLoRA against numpy's singular values, on adapters with quadratic losses."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CheckResult, above, close, every
from fedmtl.verify.low_rank import CLIENTS, LR, RANK, START, A, B, Factors, descend, mean, play, same_models
from fedmtl.verify.planted import one_subspace_by_adapters
from fedmtl.verify.quadratic import Array


def cut(product: Array) -> tuple[Array, Array]:
    """V_rᵀ and U_r Σ_r by numpy, under its signs: a descent from other signs has the same products."""
    u, s, v = np.linalg.svd(product, full_matrices=False)
    return v[:RANK], u[:, :RANK] * s[:RANK]


def rounds_by_hand(flex: Callable[..., Any]) -> CheckResult:
    """Three rounds of two steps by (2) of fedmtl/verify/low_rank.py: afterwards all begin with the factors of
    Σ p_k B_k A_k that numpy's SVD gives, and φ_k is the client's own."""
    models = [START] * 3
    for _ in range(3):
        trained = [descend(one, own, 2) for one, own in zip(CLIENTS, models, strict=True)]
        a, b = cut(mean([one.product for one in trained]))
        models = [Factors(a, b, one.phi) for one in trained]
    return same_models(play(flex(lr=LR, epochs=2), 3).personal, models)


def the_aggregate_is_off_by_the_singular_values_that_are_cut(flex: Callable[..., Any]) -> CheckResult:
    """‖P − B A‖² = Σ_{j>r} σ_j² (Eckart and Young), with the σ_j of P = Σ p_k B_k A_k by numpy: of 4, two are left
    out, and not 0."""
    found = play(flex(lr=LR, epochs=2), 1)
    product = mean([up[B].numpy() @ up[A].numpy() for up in found.uploads])
    tail = np.linalg.svd(product, compute_uv=False)[RANK:]
    gap = np.square(product - found.personal[0].product).sum()
    return every(above(float(tail[0]), 0.01), close([len(tail), gap], [2, np.square(tail).sum()], atol=1e-12))


def one_client_loses_nothing(flex: Callable[..., Any]) -> CheckResult:
    """A cohort of one has a product of rank r, which the cut keeps; A's rows are orthonormal, and all of Σ is in B."""
    found = play(flex(lr=LR, epochs=2), 1, CLIENTS[:1])
    a, b, *_ = found.personal[0]
    alone = descend(CLIENTS[0], START, 2).product
    sigma = np.linalg.svd(alone, compute_uv=False)[:RANK]
    return every(
        close(b @ a, alone, atol=1e-12),
        close(a @ a.T, np.eye(RANK), atol=1e-12),
        close(b.T @ b, np.diag(sigma**2), atol=1e-12),
    )


CHECKS = (
    rounds_by_hand,
    the_aggregate_is_off_by_the_singular_values_that_are_cut,
    one_client_loses_nothing,
)

GAIN = Claim(one_subspace_by_adapters, steps(lr=0.05))
