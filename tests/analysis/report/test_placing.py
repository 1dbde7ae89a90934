"""Labels that overlap nothing."""

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize

from fedmtl.analysis.report.placing import Box, overlap, place, spread


@pytest.mark.parametrize("seed", range(20))
def test_labels_in_a_column_never_overlap_and_stay_in_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 15))
    wanted, heights = rng.choice([0.0, 30.0, 31.0, 77.0], count) + rng.normal(size=count), rng.uniform(2, 9, count)
    centres = spread(wanted.tolist(), heights.tolist(), 0.0, 150.0)
    boxes = [(0.0, c - h / 2, 1.0, c + h / 2) for c, h in zip(centres, heights, strict=True)]
    shrunk = [(a, b + 1e-9, c, d - 1e-9) for a, b, c, d in boxes]
    assert not any(overlap(one, other) for one, other in combinations(shrunk, 2))
    assert min(box[1] for box in boxes) >= -1e-9 and max(box[3] for box in boxes) <= 150 + 1e-9
    assert np.argsort(centres).tolist() == np.argsort(wanted, kind="stable").tolist(), "lines that cross mislead"


@pytest.mark.parametrize("seed", range(5))
def test_a_column_is_the_least_squares_solution(seed: int) -> None:
    """Against scipy's SLSQP on the same quadratic programme, constraints c_(i+1) - c_i >= (h_i + h_(i+1)) / 2."""
    rng = np.random.default_rng(seed)
    wanted, heights = np.sort(rng.uniform(20, 60, 7)), rng.uniform(4, 9, 7)
    gaps = (heights[1:] + heights[:-1]) / 2
    best = minimize(
        lambda c: ((c - wanted) ** 2).sum(), np.arange(7) * 10.0, method="SLSQP",
        constraints={"type": "ineq", "fun": lambda c: np.diff(c) - gaps}, options={"ftol": 1e-12},
    )  # fmt: skip
    np.testing.assert_allclose(spread(wanted.tolist(), heights.tolist(), -1e3, 1e3), best.x, atol=1e-4)


def test_two_at_one_place_move_apart_alike_and_free_ones_stay() -> None:
    assert spread([50.0, 50.0, 90.0], [10.0, 10.0, 10.0], 0.0, 100.0) == [45.0, 55.0, 90.0]
    assert spread([98.0], [10.0], 0.0, 100.0) == [95.0]
    assert spread([], [], 0.0, 1.0) == []


@pytest.mark.parametrize("seed", range(20))
def test_placed_boxes_overlap_neither_each_other_nor_obstacles(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def box() -> Box:
        x, y = rng.uniform(0, 90, 2).tolist()
        return x, y, x + 20, y + 6

    bounds = (0.0, 0.0, 100.0, 100.0)
    obstacles = [box() for _ in range(4)]
    candidates = [[box() for _ in range(12)] for _ in range(8)]
    chosen = place(candidates, obstacles, bounds)
    placed = [boxes[n] for boxes, n in zip(candidates, chosen, strict=True) if n is not None]
    assert len(placed) >= 3
    assert not any(overlap(one, other) for one, other in combinations(placed, 2))
    assert not any(overlap(one, other) for one in placed for other in obstacles)
    assert all(x >= 0 and y >= 0 and right <= 100 and top <= 100 for x, y, right, top in placed)
    for boxes, n in zip(candidates, chosen, strict=True):
        if n is None:  # there was none free
            inside = [b for b in boxes if b[2] <= 100 and b[3] <= 100]
            assert all(any(overlap(b, other) for other in [*placed, *obstacles]) for b in inside)
