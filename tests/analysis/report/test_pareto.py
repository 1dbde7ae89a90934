"""The Pareto line, by brute force."""

import numpy as np
import pytest

from fedmtl.analysis.report.pareto import non_dominated, pareto


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@pytest.mark.parametrize("seed", range(30))
def test_it_holds_the_points_that_none_dominates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points: list[tuple[float, float]] = [tuple(p) for p in rng.integers(0, 8, (int(rng.integers(0, 25)), 2)).tolist()]
    expected = {i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)}
    found = pareto(points)
    assert set(found) == expected
    assert [points[i] for i in found] == sorted(points[i] for i in found)


def test_three_costs_by_brute_force() -> None:
    """Of 60 random points, with equal ones among them."""
    points = np.random.default_rng(0).integers(0, 6, (60, 3)).astype(float)
    points[7] = points[3]

    def beaten(own: np.ndarray) -> bool:
        return any((other <= own).all() and (other != own).any() for other in points)

    assert non_dominated(points.tolist()) == [i for i, own in enumerate(points) if not beaten(own)]
    assert non_dominated([]) == [] and non_dominated([(1.0, float("inf")), (2.0, 2.0)]) == [1]


def test_what_diverged_is_not_on_it() -> None:
    assert pareto([(1.0, float("nan")), (2.0, 0.5), (0.0, float("-inf"))]) == [1]
