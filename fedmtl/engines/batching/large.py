"""Large clients, those with large convolutions: their layers run one by one inside a stack, see ``kernels.one_by_one``.

A stack of them saves only Python's share of a step, so it is small, and no client takes a step that is not its own.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.trees import tree_leaves
from fedmtl.engines.base import Cohort
from fedmtl.engines.batching.chunks import Piece, pieces
from fedmtl.engines.device import to_tensor

LARGE = 2**20
"""Bytes of the kernels of a client's convolutions. From there on they take about as long one by one as grouped, and
less from ten times as many on. Other layers do not count: products of matrices stack well at any size."""

MOST = 16
"""Most clients in a stack."""

MOST_BYTES = 2**28
"""Most bytes of a stack's parameters and of what its steps keep for the gradients."""

KEPT = 32
"""Numbers that a step keeps for each number of a batch."""

MOST_BYTES_OF_LEAF = 2**25
"""Most bytes of a stacked parameter: larger memory comes from the kernel at each step, page by page (``allocator``)."""


def is_large(cohort: Cohort, device: str) -> bool:
    """Return True on the CPU for clients whose convolutions' kernels take ``LARGE`` bytes or more."""
    return device == "cpu" and sum(size for size, dims in _parameters(cohort) if dims >= 3) >= LARGE


def large_chunk(cohort: Cohort) -> int:
    """Return the number of clients to stack, which depends on sizes alone."""
    if cohort.bytes_read is None:
        batch = (cohort.lazy_batches or cohort.batches)(np.argsort(cohort.steps)[-1:])[0]
        inputs = sum(prod(leaf.shape) * leaf.dtype.itemsize for leaf in batch.values())
    else:
        inputs = int(cohort.bytes_read.max()) // max(int(cohort.steps.max()), 1)
    own = [size for size, _ in _parameters(cohort)]
    return max(1, min(MOST, MOST_BYTES // (sum(own) + KEPT * inputs), MOST_BYTES_OF_LEAF // max(own)))


def by_steps(steps: NDArray[np.int64], chunk: int) -> Iterator[Piece]:
    """Yield pieces of clients with equally many steps, whose numbers are ascending."""
    ends = np.flatnonzero(np.diff(steps)) + 1
    for start, stop in pairwise([0, *ends.tolist(), len(steps)]):
        for piece in pieces(stop - start, chunk):
            yield Piece(start + piece.start, start + piece.stop, piece.size)


def _parameters(cohort: Cohort) -> list[tuple[int, int]]:
    """Return bytes and dimensions of each tensor of a client that is sent to it or kept by it."""
    received = [(leaf.nbytes, leaf.ndim) for leaf in map(to_tensor, tree_leaves(cohort.downs[0]))]
    return received + [(leaf.nbytes // len(leaf), leaf.ndim - 1) for leaf in tree_leaves(cohort.private)]
