"""Codecs that code the vectors of a cohort in one pass, as they would one by one."""

from typing import Any

import numpy as np
import pytest

from tests.codecs.codec_list import ALL_CODECS, Case
from tests.codecs.test_contract import SIZES, around, encode, gaussian, heavy

IN_ROWS = [case for case in ALL_CODECS if case.codec.traits.codes_rows]

pytestmark = pytest.mark.parametrize("case", IN_ROWS, ids=lambda case: repr(case.codec))


@pytest.mark.parametrize("n", SIZES)
def test_rows_are_coded_as_they_are_one_by_one(case: Case, n: int) -> None:
    """Vectors that lie apart in memory, as they do behind headers; each with chance of its own."""
    codec: Any = case.codec
    x = np.zeros((5, n + 8), np.float32)[:, 8:]
    x[:] = [gaussian(n), heavy(n), np.zeros(n), np.ones(n), 1e4 * gaussian(n, 1)]
    before = x.copy()
    rows = np.array(codec.encode_rows(x, lambda k: np.random.default_rng(k)))
    assert rows.dtype == np.uint8 and [row.tobytes() for row in rows] == [encode(codec, x[k], k) for k in range(5)]
    decoded = codec.decode_rows(rows, n)
    assert decoded.dtype == np.float32 and decoded.shape == (5, n)
    assert all(decoded[k].tobytes() == around(codec, x[k], k).tobytes() for k in range(5))
    assert np.array_equal(x, before)


def test_one_bad_row_of_bytes_is_an_error(case: Case) -> None:
    codec: Any = case.codec
    good = np.frombuffer(encode(codec, gaussian(100)), np.uint8)
    with pytest.raises(ValueError, match=f"{good.size} bytes for 100 numbers, got {good.size - 1}"):
        codec.decode_rows(np.stack([good[:-1], good[1:]]), 100)
