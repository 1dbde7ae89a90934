"""Points that no other dominates: of costs, and of a cost and a score."""

from collections.abc import Sequence

import numpy as np


def non_dominated(costs: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points that no other dominates, in their order.

    A point dominates another when none of its costs is more, and one is less. Points that are not finite have no part
    in it; of equal points, all stay.

    Args:
        costs: of each point the same number of costs, less is better; minus a score is a cost.
    """
    if not costs:
        return []
    points = np.asarray(costs, float)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    some = points[finite]
    return [
        int(index)
        for index, own in zip(finite, some, strict=True)
        if not ((some <= own).all(axis=1) & (some < own).any(axis=1)).any()
    ]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, score) that no other dominates, in the order of cost; see ``non_dominated``."""
    return sorted(non_dominated([(cost, -score) for cost, score in points]), key=lambda index: points[index][0])
