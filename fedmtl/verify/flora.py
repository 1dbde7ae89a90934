"""FLoRA against numpy on adapters with quadratic losses."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CheckResult, above, close, every
from fedmtl.verify.low_rank import (
    CLIENTS,
    IN,
    LR,
    MERGED,
    OUT,
    RANK,
    START,
    A,
    B,
    Factors,
    P,
    context,
    descend,
    mean,
    play,
    same_models,
)
from fedmtl.verify.planted import one_subspace_by_wide_adapters
from fedmtl.verify.quadratic import Array


def new(round: int, client: int) -> Array:
    """A client's A of a round: even draws u from its context, (2u − 1) / √in."""
    drawn = context(round, client).fold(A).uniform((RANK, IN)).double().numpy()
    return (2 * drawn - 1) / np.sqrt(IN)


def rounds_by_hand(flora: Callable[..., Any]) -> CheckResult:
    """Three rounds of two steps by (2) of fedmtl/verify/low_rank.py from B = 0 and new A_k: after each, M has
    Σ p_k B_k A_k added, and clients predict with M alone and their own φ_k."""
    merged, heads = np.zeros((OUT, IN)), [START.phi] * 3
    none = np.zeros((OUT, RANK))
    for round in range(3):
        starts = [Factors(new(round, k), none, heads[k], merged) for k in range(3)]
        trained = [descend(one, own, 2) for one, own in zip(CLIENTS, starts, strict=True)]
        merged = merged + mean([one.b @ one.a for one in trained])
        heads = [one.phi for one in trained]
    expected = [Factors(START.a, none, phi, merged) for phi in heads]
    return same_models(play(flora(lr=LR, epochs=2), 3).personal, expected)


def the_stack_is_exact_and_of_a_higher_rank(flora: Callable[..., Any]) -> CheckResult:
    """After a round M is [B_1 B_2 B_3] [p_1 A_1; p_2 A_2; p_3 A_3], off the mean of the products by 0: of rank 6 where
    weights are large, here of all 4 rows, where adapters have rank 2."""
    found = play(flora(lr=LR, epochs=2), 1)
    b = np.concatenate([up[B].numpy() for up in found.uploads], 1)
    a = np.concatenate([p * up[A].numpy() for p, up in zip(P, found.uploads, strict=True)])
    merged = found.downs[0][MERGED].numpy()
    return every(above(float(np.linalg.svd(merged, compute_uv=False)[3]), 1e-4), close(merged, b @ a, atol=1e-12))


def a_weight_goes_down_and_its_adapters_go_up(flora: Callable[..., Any]) -> CheckResult:
    """M of 4 × 5 numbers down; A and B up, 2 × 5 and 4 × 2; the first A stays with the client, and B begins as 0."""
    found = play(flora(lr=LR, epochs=1), 2)
    sizes = [sum(value.numel() for value in each.values()) for each in (*found.downs, *found.uploads)]
    kept = np.stack([own[A].numpy() for own in found.private])
    begins = np.stack([one.b for one in found.personal])
    return every(
        close(kept, np.stack([START.a] * 3), atol=0),
        close(begins, np.zeros((3, OUT, RANK)), atol=0),
        close(sizes, [20] * 3 + [18] * 3, atol=0),
    )


CHECKS = (
    rounds_by_hand,
    the_stack_is_exact_and_of_a_higher_rank,
    a_weight_goes_down_and_its_adapters_go_up,
)

GAIN = Claim(one_subspace_by_wide_adapters, steps(lr=0.05))
