"""Codecs that code the vectors of a cohort in one pass, as they would one by one."""

import copy
from typing import Any

import numpy as np
import pytest

from fedmtl.core.trees import tree_stack
from tests.codecs.codec_list import ALL_CODECS, Case
from tests.codecs.test_contract import SIZES, encode, gaussian, heavy, same_tree

IN_ROWS = [case for case in ALL_CODECS if case.codec.traits.codes_rows]

pytestmark = pytest.mark.parametrize("case", IN_ROWS, ids=lambda case: repr(case.codec))


@pytest.mark.parametrize("n", SIZES)
def test_rows_are_coded_as_they_are_one_by_one(case: Case, n: int) -> None:
    """Vectors that lie apart in memory, as they do behind headers; each with chance of its own."""
    codec: Any = case.codec
    x = np.zeros((5, n + 8), np.float32)[:, 8:]
    x[:] = [gaussian(n), heavy(n), np.zeros(n), np.ones(n), 1e4 * gaussian(n, 1)]
    before, states, alone = x.copy(), tree_stack([codec.init(n)] * 5), [codec.init(n)] * 5
    for turn in range(2):  # in the second, memories are not zero
        held = copy.deepcopy(states)
        rows, after = codec.encode_rows(x, states, lambda k, turn=turn: np.random.default_rng([turn, k]))
        packets = [codec.encode(x[k], alone[k], np.random.default_rng([turn, k])) for k in range(5)]
        assert rows.dtype == np.uint8 and [row.tobytes() for row in rows] == [data for data, _ in packets]
        alone = [state for _, state in packets]
        assert same_tree(after, tree_stack(alone)) and same_tree(states, held)
        decoded, states = codec.decode_rows(np.array(rows), n), after
        assert decoded.dtype == np.float32 and decoded.shape == (5, n)
        assert all(decoded[k].tobytes() == codec.decode(packets[k][0], n).tobytes() for k in range(5))
    assert np.array_equal(x, before)


def test_one_bad_row_of_bytes_is_an_error(case: Case) -> None:
    codec: Any = case.codec
    good = np.frombuffer(encode(codec, gaussian(100)), np.uint8)
    with pytest.raises(ValueError, match=f"{good.size} bytes for 100 numbers, got {good.size - 1}"):
        codec.decode_rows(np.stack([good[:-1], good[1:]]), 100)
