"""The mean of the ceil(n / 10) worst."""

import math

import pytest

from fedmtl.tasks.worst import worst_tenth


@pytest.mark.parametrize(("count", "worst"), [(1, 1), (9, 1), (10, 1), (11, 2), (19, 2), (20, 2), (21, 3), (101, 11)])
def test_the_count_is_rounded_up(count: int, worst: int) -> None:
    """Of the values 0 … n − 1 the k smallest have the mean (k − 1) / 2, the k largest n − 1 − (k − 1) / 2."""
    values = [float(7 * i % count) if math.gcd(7, count) == 1 else float(i) for i in range(count)]
    assert worst_tenth(values) == (worst - 1) / 2
    assert worst_tenth(values, higher_is_better=False) == count - 1 - (worst - 1) / 2


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0] * 30 + [math.inf], [-math.inf, 0.0]])
def test_no_number_of_no_client_and_of_a_diverged_one(values: list[float]) -> None:
    assert math.isnan(worst_tenth(values))
