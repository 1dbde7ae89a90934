"""Some packets that no sender made, for every codec; ``fuzz.py`` runs as many as one likes."""

from typing import Any

import numpy as np
import pytest

from fedmtl.codecs import QSGD, Codec
from tests.codecs.codec_list import ALL_CODECS
from tests.codecs.fuzz import LAYERED, fuzz

EACH = {type(case.codec): case.codec for case in reversed(ALL_CODECS)}


@pytest.mark.parametrize("codec", [*EACH.values(), *LAYERED], ids=repr)
def test_packets_that_no_sender_made(codec: Codec[Any]) -> None:
    found = fuzz(codec, 200, sizes=(1, 7, 31, 257, 1000))
    assert 50 < found.refused
    assert fuzz(codec, 10, sizes=(2**18,)).most_memory <= 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.array([1.0], "<f8").tobytes() + np.array([2**31, 2**31], "<u4").tobytes(), "2147483648 numbers"),
        (np.array([1.0], "<f8").tobytes() + np.array([0, 2**32 - 1], "<u4").tobytes(), "4294967295 bytes of a chunk"),
        (np.array([np.nan], "<f8").tobytes() + bytes(8), "a norm of nan"),
        (np.array([1e300], "<f8").tobytes() + bytes(8), "a norm of 1e.300"),
        (np.array([1.0], "<f8").tobytes() + bytes(4), "where a chunk begins at 8"),
        (
            np.array([1.0], "<f8").tobytes() + np.array([1, 1], "<u4").tobytes() + b"\0",
            "1 numbers begin, of which 0 end",
        ),
        (np.array([0.0], "<f8").tobytes() + np.array([1, 1], "<u4").tobytes() + b"\xa0", "an index of 0"),
    ],
)
def test_qsgd_refuses_counts_before_it_takes_memory(data: bytes, message: str) -> None:
    """The last: index 0 is a gap of 1, a one; a positive sign; level 1, a one: bits 1, 0, 1. But the norm is 0."""
    with pytest.raises(ValueError, match=f"{message}.*reject the reply"):
        QSGD().decode(data, 10)
