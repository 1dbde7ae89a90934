"""Columns: what goes in comes out, in few bytes when it is regular."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.tables.columns import pack_column, unpack_column

RANDOM = np.random.default_rng(0)

COLUMNS = {
    "none": np.array([], np.int64),
    "one": np.array([7]),
    "ascending": np.sort(RANDOM.choice(10_000, 1_000, replace=False)),
    "any order, any sign": RANDOM.integers(-(2**40), 2**40, 100),
    "steps of both signs that need eight bits without one": np.array([0, 200, 100, 300]),
    "whole floats": RANDOM.integers(0, 64, 1_000).astype(np.float64),
    "no floats": np.array([], np.float64),
    "floats": RANDOM.standard_normal(100),
    "whole floats beyond 2**53": np.array([2.0**60, 1.0]),
    "what is no number": np.array([1.0, np.nan, np.inf, -np.inf]),
    "a negative zero": np.array([-0.0, 0.0, 1.0]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_what_goes_in_comes_out_bit_for_bit(name: str) -> None:
    values: NDArray[np.int64] | NDArray[np.float64] = COLUMNS[name]
    column = pack_column(values)
    again = unpack_column(column)
    assert again.dtype == values.dtype and column.size == len(values)
    assert again.tobytes() == values.tobytes()


def test_ids_take_about_a_byte_and_equal_numbers_nothing() -> None:
    """1,000 of 10,000 sorted ids: steps are geometric with mean 10, 4.7 bits of entropy each; eight bytes raw."""
    assert len(pack_column(COLUMNS["ascending"]).data) <= 1_000
    assert len(pack_column(np.full(1_000, 533)).data) < 40
    assert len(pack_column(np.arange(100_000)).data) < 1_000
    assert len(pack_column(COLUMNS["whole floats"]).data) <= 1_100
