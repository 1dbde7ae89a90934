"""FedSA-LoRA against numpy on adapters with quadratic losses."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CheckResult, above, close, every, same_bits
from fedmtl.verify.low_rank import (
    CLIENTS,
    HEAD,
    LR,
    START,
    A,
    B,
    Factors,
    covariance,
    descend,
    mean,
    play,
    same_models,
)
from fedmtl.verify.planted import one_subspace_by_adapters


def rounds_by_hand(fedsa: Callable[..., Any]) -> CheckResult:
    """Three rounds of two steps by (2) of fedmtl/verify/low_rank.py: afterwards A is Σ p_k A_k, and B_k and φ_k the
    client's own."""
    models = [START] * 3
    for _ in range(3):
        trained = [descend(one, own, 2) for one, own in zip(CLIENTS, models, strict=True)]
        a = mean([one.a for one in trained])
        models = [Factors(a, one.b, one.phi) for one in trained]
    return same_models(play(fedsa(lr=LR, epochs=2), 3).personal, models)


def the_mean_of_its_products_is_off_by_the_covariance(fedsa: Callable[..., Any]) -> CheckResult:
    """Clients predict with B_k Ā, of which the mean is B̄ Ā: off Σ p_k B_k A_k by −Σ p_k (B_k − B̄)(A_k − Ā)."""
    found = play(fedsa(lr=LR, epochs=2), 2)
    a = [up[A].numpy() for up in found.uploads]
    b = [own[B].numpy() for own in found.private]
    gap = mean([one.product for one in found.personal]) - mean([one @ other for one, other in zip(b, a, strict=True)])
    return every(above(float(np.linalg.norm(covariance(a, b))), 0.01), close(gap, -covariance(a, b), atol=1e-12))


def b_stays_and_does_not_travel(fedsa: Callable[..., Any]) -> CheckResult:
    """A client predicts with the B that it trained, bit for bit; 10 numbers of A go down and up, and no others."""
    found = play(fedsa(lr=LR, epochs=1), 2)
    sizes = [sum(value.numel() for value in each.values()) for each in (*found.downs, *found.uploads)]
    names = [sorted(own) == sorted([B, HEAD]) for own in found.private]
    kept = np.stack([own[B].numpy() for own in found.private])
    return every(
        same_bits(np.stack([one.b for one in found.personal]), kept),
        close([*names, *sizes], [1] * 3 + [10] * 6, atol=0),
    )


CHECKS = (rounds_by_hand, the_mean_of_its_products_is_off_by_the_covariance, b_stays_and_does_not_travel)

GAIN = Claim(one_subspace_by_adapters, steps(lr=0.05))
