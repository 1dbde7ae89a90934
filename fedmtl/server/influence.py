"""Bounds on the influence of one client: on its weight and on the norm of its update.

    n_k       ≤ W · N_k                                   N_k the training examples that the server knows of     (1)
    |w_k − w| ≤ R · max(|w|, |w_0|, typical)              w what was sent to the client, w_0 the first model     (2)

``typical`` is the smallest over nodes of the lower median, over a node's clients, of |w_k − w|: one node cannot raise
it, however many clients it has, as long as there are two. Where all norms of (2) are 0 (a model of zeros, and clients
of one node), the median of that node is used.

The server may hold stand-ins, whose numbers of examples are not the devices' own, and an algorithm may weigh clients
otherwise. So (1) holds in rounds in which, on at least half of the nodes, at least half of the clients weigh exactly
N_k. In others, and where the server knows no N_k, it is n_k ≤ W · 1000 · typical, with the typical weight as above.
Counts of test examples are bounded alike, with W = 1.

Honest clients weigh at most their examples, W = 1. R = 1000 is far from what they send: an update of a thousand times
the length of the model has destroyed it, and is left out as one that is not finite is. Where all clients of all nodes
diverge alike, ``typical`` diverges too, and none is left out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 1000.0
"""Times the median weight, where the server does not know how many examples clients have."""


class Bounds(NamedTuple):
    """Bounds of an experiment; 0 lifts one."""

    weight: float = 1.0
    """W, times a client's number of training examples."""
    norm: float = 1000.0
    """R, times the norm of the model or of a typical update."""


def update_norms(
    vectors: NDArray[np.float32], references: NDArray[np.float32], broadcast_index: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return |w_k − w| and |w| of K clients, [K] both, in float64; one row is in memory at a time.

    Args:
        vectors: w_k, [K, size].
        held: the models w that were sent, [M, size], 0 where an upload has no counterpart.
        which: [K] client -> its w among them; None where there is one.
    """
    lengths = np.array([np.sqrt(np.einsum("n,n->", w, w, dtype=np.float64)) for w in references])
    place = np.zeros(len(vectors), np.int64) if broadcast_index is None else broadcast_index
    apart = np.empty(len(vectors))
    with np.errstate(over="ignore", invalid="ignore"):
        for k, vector in enumerate(vectors):
            step = vector - references[place[k]]
            apart[k] = np.sqrt(np.einsum("n,n->", step, step, dtype=np.float64))
    return apart, lengths[place]


def typical(parts: Sequence[NDArray[np.float64]]) -> float:
    """Return the smallest over nodes of the lower median over clients, of finite numbers; 0 without any."""
    middles = []
    for part in parts:
        finite = np.sort(part[np.isfinite(part)])
        if len(finite):
            middles.append(float(finite[(len(finite) - 1) // 2]))
    return min(middles, default=0.0)


def norm_limits(
    bounds: Bounds,
    update_norms: Sequence[NDArray[np.float64]],
    model_norms: Sequence[NDArray[np.float64]],
    nodes: Sequence[int | None],
    first: float,
) -> list[NDArray[np.float64]]:
    """Return the right-hand side of (2) for the clients of each part; infinity where there is no bound.

    Args:
        apart, lengths: |w_k − w| and |w| of the clients of each part.
        nodes: that the parts came from.
        first: |w_0|.
    """
    if not bounds.norm:
        return [np.full(len(part), np.inf) for part in update_norms]
    by_node = [
        np.concatenate([part for part, of in zip(update_norms, nodes, strict=True) if of == n]) for n in set(nodes)
    ]
    middle = typical(by_node)
    least = max(first, middle if len(by_node) > 1 else 0.0)
    limits = []
    for part in model_norms:
        base = np.maximum(part, least)
        limits.append(bounds.norm * np.where(base > 0, base, middle if middle > 0 else np.inf))
    return limits


def size_limits(
    factor: float,
    claims: Sequence[NDArray[np.float64]],
    known: Sequence[NDArray[np.int64] | None],
    nodes: Sequence[int | None],
) -> list[NDArray[np.float64]]:
    """Return the right-hand side of (1) for the clients of each part; infinity where there is no bound.

    Args:
        factor: W; 0 lifts the bound.
        claims: weights, or counts, of the clients of each part.
        known: N_k of the same clients; None where the server does not know.
        nodes: that the parts came from.
    """
    if not factor:
        return [np.full(len(part), np.inf) for part in claims]
    exact: dict[int | None, list[NDArray[np.bool_]]] = {}
    by_node: dict[int | None, list[NDArray[np.float64]]] = {}
    for part, sizes, node in zip(claims, known, nodes, strict=True):
        by_node.setdefault(node, []).append(part)
        exact.setdefault(node, []).append(np.zeros(len(part), bool) if sizes is None else part == sizes)
    agreeing = [bool(np.concatenate(some).mean() >= 0.5) for some in exact.values() if sum(map(len, some))]
    real = bool(agreeing) and float(np.mean(agreeing)) >= 0.5
    unknown = factor * UNKNOWN * typical([np.concatenate(some) for some in by_node.values()])
    return [
        factor * sizes.astype(np.float64) if real and sizes is not None else np.full(len(part), unknown)
        for part, sizes in zip(claims, known, strict=True)
    ]
