"""Bounds on one client's weight and update: numbers worked out by hand from the formulas of the module."""

import numpy as np
import pytest

from fedmtl.server.influence import UNKNOWN, Bounds, norm_limits, size_limits, typical, update_norms


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def test_distances_are_euclidean_and_do_not_overflow() -> None:
    """‖(4, 6) − (1, 2)‖ = 5, ‖(3, 4)‖ = 5; 3e38 squared is beyond float32 and not beyond float64."""
    held = np.array([[1, 2], [0, 0]], np.float32)
    vectors = np.array([[4, 6], [3, 4], [3e38, 0]], np.float32)
    apart, lengths = update_norms(vectors, held, np.array([0, 1, 1]))
    assert apart == pytest.approx([5.0, 5.0, 3e38], rel=1e-6)
    assert lengths == pytest.approx([5**0.5, 0.0, 0.0], rel=1e-7)


def test_no_single_node_raises_what_is_typical() -> None:
    """Lower medians 2 and 1e6: the smallest counts, also where the large ones are the majority."""
    assert typical([floats(1, 2, 3), floats(*[1e6] * 99)]) == 2.0
    assert typical([floats(1, 2, 3, 4)]) == 2.0  # the lower of the two in the middle
    assert typical([floats(np.nan, np.inf), floats(7)]) == 7.0
    assert typical([]) == 0.0


def test_norms_are_held_against_the_model_the_first_one_and_the_other_node() -> None:
    bounds, apart = Bounds(norm=10.0), [floats(1, 2, 3), floats(500)]
    assert [part.tolist() for part in norm_limits(bounds, apart, [floats(0, 0, 7), floats(0)], [1, 2], 0.5)] == [
        [20.0, 20.0, 70.0],  # typical: min(2, 500); |w| of the third is 7
        [20.0],
    ]
    (alone,) = norm_limits(bounds, [floats(500)], [floats(0)], [1], 0.5)
    assert alone.tolist() == [5.0]  # one node: its own median does not count beside |w_0|
    (zeros,) = norm_limits(bounds, [floats(3, 500)], [floats(0, 0)], [1], 0.0)
    assert zeros.tolist() == [30.0, 30.0]  # nothing else is known
    (free,) = norm_limits(Bounds(norm=0.0), [floats(500)], [floats(1)], [1], 0.5)
    assert free.tolist() == [np.inf]


def test_sizes_that_half_of_the_nodes_confirm_are_the_bound() -> None:
    known = [np.array([4, 8]), np.array([6])]
    confirmed = size_limits(1.0, [floats(4, 8), floats(1e15)], known, [1, 2])
    assert [part.tolist() for part in confirmed] == [[4.0, 8.0], [6.0]]
    twice = size_limits(2.0, [floats(4, 8), floats(1e15)], known, [1, 2])
    assert [part.tolist() for part in twice] == [[8.0, 16.0], [12.0]]


def test_sizes_that_are_stand_ins_bound_nothing_but_what_is_far_from_typical() -> None:
    """Clients weigh 40, 80, 300 where the server holds one example each: a thousand times the smaller median, 40."""
    known = [np.array([1, 1]), np.array([1])]
    found = size_limits(1.0, [floats(40, 80), floats(300)], known, [1, 2])
    assert [part.tolist() for part in found] == [[40 * UNKNOWN] * 2, [40 * UNKNOWN]]
    assert size_limits(1.0, [floats(40, 80)], [None], [1])[0].tolist() == [40 * UNKNOWN] * 2
    assert size_limits(0.0, [floats(40)], [np.array([1])], [1])[0].tolist() == [np.inf]
