"""FFA-LoRA against numpy on adapters with quadratic losses."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.low_rank import CLIENTS, HEAD, LR, START, A, B, Factors, descend, mean, play, same_models
from fedmtl.verify.planted import one_subspace_by_wide_adapters


def rounds_by_hand(ffa: Callable[..., Any]) -> CheckResult:
    """Three rounds of two steps by (2) of fedmtl/verify/low_rank.py without A's: afterwards B is Σ p_k B_k, and φ_k
    the client's own."""
    models = [START] * 3
    for _ in range(3):
        trained = [descend(one, own, 2, holds_a=True) for one, own in zip(CLIENTS, models, strict=True)]
        b = mean([one.b for one in trained])
        models = [Factors(START.a, b, one.phi) for one in trained]
    return same_models(play(ffa(lr=LR, epochs=2), 3).personal, models)


def the_aggregate_is_the_mean_of_the_products(ffa: Callable[..., Any]) -> CheckResult:
    """Σ p_k (B_k A) = (Σ p_k B_k) A, as A is the same for all: off by 0."""
    found = play(ffa(lr=LR, epochs=2), 2)
    products = [up[B].numpy() @ START.a for up in found.uploads]
    return every(*(close(one.product, mean(products), atol=1e-12) for one in found.personal))


def a_stays_and_does_not_travel(ffa: Callable[..., Any]) -> CheckResult:
    """A keeps its first bits in each private state; 8 numbers of B go down and up, and no others."""
    found = play(ffa(lr=LR, epochs=1), 2)
    sizes = [sum(value.numel() for value in each.values()) for each in (*found.downs, *found.uploads)]
    kept = np.stack([own[A].numpy() for own in found.private])
    names = [sorted(own) == sorted([A, HEAD]) for own in found.private]
    return every(same_bits(kept, np.stack([START.a] * 3)), close([*names, *sizes], [1] * 3 + [8] * 6, atol=0))


CHECKS = (rounds_by_hand, the_aggregate_is_the_mean_of_the_products, a_stays_and_does_not_travel)

GAIN = Claim(one_subspace_by_wide_adapters, steps(lr=0.05))
