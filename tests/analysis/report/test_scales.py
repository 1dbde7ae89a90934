"""Ends and ticks of axes."""

import numpy as np
import pytest

from fedmtl.analysis.report.scales import left_end, point_limits, tick_digits, tick_label, value_limits


def test_ordinary_curves_have_room_at_both_ends() -> None:
    """0 to 0.8, and a twenty-fifth of that more at either end."""
    assert value_limits([[0.0, 0.1, 0.5, 0.8], [0.2, 0.3, 0.4, 0.5]]) == pytest.approx((-0.032, 0.832))


def test_a_start_that_is_far_off_is_cut() -> None:
    """Without the first quarter, values lie in [1, 2], span 1: half a span more at the side of the start.

    The ends are 1 and 2.5, then a twenty-fifth of 1.5 more.
    """
    assert value_limits([[50.0, 2.0, 1.5, 1.0]]) == pytest.approx((0.94, 2.56))
    assert value_limits([[-50.0, 1.0, 1.5, 2.0]]) == pytest.approx((0.44, 2.06))


def test_wide_intervals_are_cut_and_narrow_ones_shown() -> None:
    """Means span 0 to 3: intervals of ±0.5 are shown, of ±9 up to a third of the span, 1."""
    means = [[0.0, 1.0, 2.0, 3.0]]
    assert value_limits(means, [[0.5] * 4]) == pytest.approx((-0.12, 3.62)), "the first quarter's is not looked at"
    assert value_limits(means, [[9.0] * 4]) == pytest.approx((-1.12, 4.12))
    assert value_limits(means, [None]) == pytest.approx((-0.12, 3.12))


def test_curves_without_numbers_or_spread_leave_the_axis_to_itself() -> None:
    nan = float("nan")
    assert value_limits([]) == value_limits([[]]) == value_limits([[nan, nan]]) == (None, None)
    assert value_limits([[9.0, 1.0, 1.0, 1.0]]) == (None, None)


def test_points_have_room_for_their_intervals_and_for_a_target_that_is_near() -> None:
    """Scores 0.4 and 0.8; an eighth of their span, 0.05, is free at either end, and half of it is the most shown."""
    assert point_limits([0.4, 0.8], [None, None]) == pytest.approx((0.35, 0.85))
    assert point_limits([0.4, 0.8], [0.1, 9.0]) == pytest.approx((0.15, 1.05))
    assert point_limits([0.4, 0.8], [None, None], 0.3) == pytest.approx((0.2375, 0.8625)), "the span is 0.5"
    assert point_limits([0.4, 0.8], [None, None], 7.0) == pytest.approx((0.35, 0.85))
    low, high = point_limits([0.5, 0.5], [None, None])
    assert low < 0.5 < high


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


@pytest.mark.parametrize("high", [3e3, 2e4, 1e5, 1e7, 1e12])
def test_a_narrow_panel_has_few_ticks(high: float) -> None:
    digits = tick_digits(1e3, high, 4)
    if digits != (1,):
        assert sum(1e3 <= digit * 10**power <= high for digit in digits for power in range(13)) <= 5


def test_tick_labels_have_no_idle_zeros() -> None:
    assert [tick_label(count) for count in (500, 1e4, 1.5e6, 2e7)] == ["500 B", "10 kB", "1.5 MB", "20 MB"]
