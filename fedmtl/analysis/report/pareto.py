"""The Pareto line: what is reached by none for fewer bytes."""

from collections.abc import Sequence
from math import isfinite


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, score) that no other dominates, in the order of cost.

    A point dominates another when it costs no more and scores no less, and one of the two is strict. Points that are
    not finite have no part in it; of equal points, all stay.
    """
    found: list[int] = []
    for index in sorted((i for i, p in enumerate(points) if all(map(isfinite, p))), key=lambda i: _key(points[i])):
        if not found or points[index][1] > points[found[-1]][1] or points[index] == points[found[-1]]:
            found.append(index)
    return found


def _key(point: tuple[float, float]) -> tuple[float, float]:
    return point[0], -point[1]
