"""PowerSGD: matrices of the layout, what the power method is known to find, and its memory in a federation."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.codecs import Codec, ErrorFeedback, PerLayer, PowerSGD, Sign
from fedmtl.codecs.layout import Layout, layout_of
from fedmtl.codecs.stated import stated_bytes
from tests.codecs.codec_list import square

ARRAYS = [("w/bias", (7,)), ("w/kernel", (6, 4, 3, 3)), ("w/scale", ()), ("w/small", (2, 3)), ("w/weight", (20, 30))]
LAYOUT = layout_of(ARRAYS)
KERNEL, WEIGHT = slice(7, 7 + 216), slice(7 + 216 + 7, 7 + 216 + 7 + 600)


def draw(*seed: int) -> np.random.Generator:
    return np.random.default_rng(list(seed) or 0)


def played(codec: Codec[Any], x: NDArray[np.float32], layout: Layout, rounds: int) -> NDArray[np.float64]:
    """What is decoded of the last of equal vectors."""
    state, data = codec.init(layout), b""
    for k in range(rounds):
        data, state = codec.encode(x, state, draw(k))
    return codec.decode(data, x.size).astype(np.float64)


def test_arrays_of_two_axes_or_more_are_matrices_where_that_is_shorter() -> None:
    """The kernel is (6, 4 · 3 · 3), so 2 (6 + 36) of its 216 numbers travel, and 2 (20 + 30) of the weight's 600; 2 (2
    + 3) is more than 2 · 3. The other 14 are sent as they are, first."""
    bound, x = PowerSGD(rank=2).bind(LAYOUT), draw().standard_normal(LAYOUT.size).astype(np.float32)
    assert bound.num_bytes(LAYOUT.size) == 4 * (14 + 2 * 42 + 2 * 50) == stated_bytes(PowerSGD(), LAYOUT).most
    data, state = bound.encode(x, bound.init(LAYOUT), draw())
    rest = np.r_[0:7, 223:230]
    assert data[: 4 * 14] == x[rest].tobytes() and np.array_equal(bound.decode(data, x.size)[rest], x[rest])
    numbers = np.frombuffer(data, "<f4")[14:]
    for span, m, n, place in ((KERNEL, 6, 36, 0), (WEIGHT, 20, 30, 84)):
        p = numbers[place : place + 2 * m].reshape(m, 2).astype(np.float64)
        assert np.allclose(p.T @ p, np.eye(2), atol=1e-6)
        projected = p @ (p.T @ x[span].reshape(m, n))
        assert np.allclose(bound.decode(data, x.size)[span].reshape(m, n), projected, atol=1e-5)
    assert state.shape == (2 * (36 + 30),)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_matrix_of_that_rank_arrives_whole_at_once(rank: int) -> None:
    """To the rounding of float32, of numbers of any size; zeros stay zeros, and memories of zeros do not stay."""
    layout = layout_of([("w/a", (40, 50))])
    matrix = draw().standard_normal((40, rank)) @ draw(1).standard_normal((rank, 50))
    codec = PowerSGD(rank=rank).bind(layout)
    for size in (1e-35, 1.0, 1e36):
        x = (size * matrix).astype(np.float32).reshape(-1)
        assert square((played(codec, x, layout, 1) - x) / size) <= 1e-11 * square(x / size)
    data, state = codec.encode(0 * x, codec.init(layout), draw())
    assert not codec.decode(data, x.size).any() and not state.any()
    data, _ = codec.encode(x, state, draw())
    assert square((codec.decode(data, x.size).astype(np.float64) - x) / size) <= 1e-11 * square(x / size)


def test_the_memory_makes_it_the_best_matrix_of_that_rank() -> None:
    """What is lost of a Gaussian 64 x 80 matrix falls from (1 - r / m) (1 - r / n), within a tenth, to what the
    singular values beyond r hold. The power method is slow among equal ones; after 60 steps it is within 1 %."""
    layout, rank = layout_of([("w/a", (64, 80))]), 4
    matrix = draw(2).standard_normal((64, 80)).astype(np.float32)
    x, codec = matrix.reshape(-1), PowerSGD(rank=rank).bind(layout)
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2
    best = float(values[rank:].sum() / values.sum())
    lost = [square(played(codec, x, layout, rounds) - x) / square(x) for rounds in (1, 2, 5, 60)]
    assert lost[0] == pytest.approx((1 - rank / 64) * (1 - rank / 80), rel=0.1)
    assert lost == sorted(lost, reverse=True) and best <= lost[-1] <= 1.01 * best < 0.93 * lost[0]


def test_with_a_memory_of_errors_all_of_it_arrives() -> None:
    """Σ x = Σ x' + e, with the errors of each layer its own; PowerSGD is by shape in a layer of its own, too."""
    weight, kernel = ErrorFeedback(PowerSGD(rank=2)), ErrorFeedback(PowerSGD(rank=1))
    bound = PerLayer({"weight": weight, "kernel": kernel}, default=Sign()).bind(LAYOUT)
    state, sent, received = bound.init(LAYOUT), np.zeros(LAYOUT.size), np.zeros(LAYOUT.size)
    for k in range(20):
        x = draw(3, k).standard_normal(LAYOUT.size).astype(np.float32)
        data, state = bound.encode(x, state, draw(k))
        assert len(data) == 4 * 2 * 50 + 4 * 42 + Sign().num_bytes(14) == bound.num_bytes(LAYOUT.size)
        sent, received = sent + x, received + bound.decode(data, LAYOUT.size)
    for span, memory in ((WEIGHT, state[0][0]), (KERNEL, state[1][0])):
        assert np.abs(sent[span] - received[span] - memory).max() <= 1e-6 * np.abs(sent[span]).max()
        assert np.abs(memory).max() > 1


@pytest.mark.parametrize("rank", [0, -1, 1.5, True, "2"])
def test_refuses_a_rank_that_is_none(rank: Any) -> None:
    with pytest.raises(ValueError, match=r"whole number of columns, at least 1, got rank="):
        PowerSGD(rank=rank)


def test_a_forged_factor_is_refused() -> None:
    bound = PowerSGD().bind(LAYOUT)
    numbers = np.zeros(bound.num_bytes(LAYOUT.size) // 4, "<f4")
    numbers[14] = 1.01
    with pytest.raises(ValueError, match=r"PowerSGD\(rank=2\) makes columns of length 1, got a number of 1.01"):
        bound.decode(numbers.tobytes(), LAYOUT.size)
    with pytest.raises(ValueError, match="was bound to 830 numbers, got size=831"):
        bound.decode(numbers.tobytes(), 831)
