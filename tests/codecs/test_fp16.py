"""FP16 at the ends of its range."""

import numpy as np
import pytest

from fedmtl.codecs import FP16

CODEC = FP16()
RNG = np.random.default_rng(0)


def around(*x: float) -> list[float]:
    vector = np.array(x, np.float32)
    return CODEC.decode(CODEC.encode(vector, None, RNG)[0], vector.size).tolist()


def test_largest_number_passes_and_the_next_is_refused() -> None:
    assert around(65504.0, -65504.0) == [65504.0, -65504.0]
    for x in (65505.0, -65505.0, 1e30):
        with pytest.raises(ValueError, match=r"up to ±65504, got .*use Dense"):
            around(0.0, x)


def test_rounds_to_nearest_ties_to_even() -> None:
    """Between 1 and 2 the numbers are 2^-10 apart."""
    step = 2.0**-10
    assert around(1 + 0.49 * step, 1 + 0.51 * step) == [1.0, 1 + step]
    assert around(1 + 0.5 * step, 1 + 1.5 * step) == [1.0, 1 + 2 * step]


def test_small_numbers_are_multiples_of_the_smallest() -> None:
    smallest = 2.0**-24
    assert around(smallest, 1.4 * smallest, 0.4 * smallest) == [smallest, smallest, 0.0]


def test_refuses_infinity_in_the_bytes() -> None:
    with pytest.raises(ValueError, match="finite numbers, got bytes that hold 1 others"):
        CODEC.decode(np.array([1.0, np.inf], "<f2").tobytes(), 2)
