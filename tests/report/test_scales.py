"""Ends and ticks of axes."""

import numpy as np
import pytest

from fedmtl.report.scales import left_end, tick_digits, tick_label, value_limits


def test_ordinary_curves_leave_the_axis_to_itself() -> None:
    assert value_limits([[0.0, 0.1, 0.5, 0.8], [0.2, 0.3, 0.4, 0.5]]) == (None, None)


def test_a_start_that_is_far_off_is_cut() -> None:
    """Without the first quarter, values lie in [1, 2], span 1: half a span more where there are values, 0.05 else."""
    assert value_limits([[50.0, 2.0, 1.5, 1.0]]) == (pytest.approx(0.95), 2.5)
    assert value_limits([[-50.0, 1.0, 1.5, 2.0]]) == (0.5, pytest.approx(2.05))


def test_curves_without_numbers_or_spread_leave_the_axis_to_itself() -> None:
    nan = float("nan")
    assert value_limits([[]]) == (None, None)
    assert value_limits([[nan, nan]]) == (None, None)
    assert value_limits([[9.0, 1.0, 1.0, 1.0]]) == (None, None)


def test_a_client_far_to_the_left_does_not_squeeze_the_others() -> None:
    """Scores 0, 1, …, 8: quartiles 2 and 6, fence 2 - 3 · 4 = -10."""
    scores = np.arange(9.0)
    assert left_end([scores]) is None
    assert left_end([scores, np.array([-99.0, 5.0, 5.0, 5.0, 5.0])]) == -10
    assert left_end([]) is None


@pytest.mark.parametrize(("low", "high", "ticks"), [(17e6, 48e6, 2), (5e5, 5e7, 3), (1e3, 1e9, 3)])
def test_a_logarithmic_axis_has_ticks_whatever_its_range(low: float, high: float, ticks: int) -> None:
    digits = tick_digits(low, high)
    assert sum(low <= digit * 10**power <= high for digit in digits for power in range(12)) >= ticks


def test_tick_labels_have_no_idle_zeros() -> None:
    assert [tick_label(count) for count in (500, 1e4, 1.5e6, 2e7)] == ["500 B", "10 kB", "1.5 MB", "20 MB"]
