"""ErrorFeedback: nothing is lost, and what fails without it converges with it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.codecs import EDEN, FP16, STC, Codec, Dense, ErrorFeedback, GolombTopK, Int8, RandK, TopK

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("codec", [TopK(0.05), TopK(0.3), FP16(), STC(0.05), GolombTopK(0.05)], ids=repr)
def test_what_goes_in_comes_out_or_is_in_memory(codec: Codec[Any]) -> None:
    feedback = ErrorFeedback(codec)
    rng = np.random.default_rng(1)
    state, sent, received = feedback.init(500), np.zeros(500), np.zeros(500)
    for _ in range(100):
        x = rng.standard_normal(500, np.float32)
        data, state = feedback.encode(x, state, RNG)
        sent += x
        received += feedback.decode(data, 500)
        assert state[0].dtype == np.float32
    assert np.abs(sent - received - state[0]).max() <= 1e-6 * np.abs(sent).max()
    assert np.abs(sent - received).max() > 10 * np.abs(sent - received - state[0]).max()  # the memory matters


def test_memory_by_hand() -> None:
    """Top-1 of 2. (3, 2): sends 3, keeps 2. (1, 0) + (0, 2): sends 2, keeps 1. (0, 0) + (1, 0): sends 1."""
    feedback = ErrorFeedback(TopK(0.5))
    state = feedback.init(2)
    for x, out, memory in [((3, 2), (3, 0), (0, 2)), ((1, 0), (0, 2), (1, 0)), ((0, 0), (1, 0), (0, 0))]:
        data, state = feedback.encode(np.array(x, np.float32), state, RNG)
        assert tuple(feedback.decode(data, 2)) == out and tuple(state[0]) == memory


NODES = np.array([[-3, 2, 2], [2, -3, 2], [2, 2, -3]], np.float64)


def gradients(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of three nodes, each with f(x) = <a, x>² + ¼ ‖x‖²: 2 <a, x> a + x/2."""
    return 2 * (NODES @ x)[:, None] * NODES + x / 2


def descend(codec: Any, rounds: int, lr: float = 0.1, start: Any = (1, 1, 1)) -> list[NDArray[np.float64]]:
    """On the mean of the three nodes, whose gradients are coded."""
    states, memories = [codec.init(3) for _ in NODES], np.zeros((3, 3), np.float32)
    path = [np.array(start, np.float64)]
    for _ in range(rounds):
        mean = np.zeros(3)
        for i, gradient in enumerate(gradients(path[-1])):
            data, states[i] = codec.encode(gradient.astype(np.float32), states[i], RNG)
            if codec.traits.receiver_memory:
                found, memories[i] = codec.receive(data, memories[i])
            else:
                found = codec.decode(data, 3)
            mean += found / 3
        path.append(path[-1] - lr * mean)
    return path


def test_top_1_alone_diverges_at_the_known_rate() -> None:
    """Beznosikov et al., arXiv:2002.12410, example 1.

    At x = t (1, 1, 1), <a, x> = t, so node 1 has the gradient t (-11/2, 9/2, 9/2) and sends -11 t/2 at its own
    coordinate, as the others do at theirs. The mean is -11 t/6 (1, 1, 1): each step multiplies x by 1 + 11 lr/6.
    """
    path = descend(TopK(1 / 3), rounds=20)
    for t, x in enumerate(path):
        assert x == pytest.approx(np.full(3, (1 + 1.1 / 6) ** t), rel=1e-5)


def test_top_1_with_error_feedback_converges() -> None:
    """To 0, the minimum of the mean. Along (1, 1, 1) its curvature is 2/3 + 1/2, the least: without coding, 100 steps
    of 0.1 leave (1 - 0.1167)^100 = 4e-6 of the start, and so many are allowed 1e-5 with it."""
    path = descend(ErrorFeedback(TopK(1 / 3)), rounds=100)
    assert np.abs(path[-1]).max() < 1e-5


@pytest.mark.parametrize("codec", [Dense(), Int8(), EDEN(2), RandK()], ids=repr)
def test_refuses_unbiased_codecs(codec: Codec[Any]) -> None:
    with pytest.raises(
        ValueError, match=r"repairs biased codecs, got (Dense|Int8|EDEN|RandK)\(.*\), which is unbiased; use it bare"
    ):
        ErrorFeedback(codec)


def test_refuses_a_second_memory() -> None:
    with pytest.raises(ValueError, match="keeps one memory"):
        ErrorFeedback(ErrorFeedback())


@pytest.mark.parametrize("codec", [None, 0.05, "topk", TopK])
def test_refuses_what_is_no_codec(codec: Any) -> None:
    with pytest.raises(TypeError, match="wraps a codec such as TopK"):
        ErrorFeedback(codec)


def test_refuses_a_memory_of_another_size() -> None:
    feedback = ErrorFeedback()
    with pytest.raises(ValueError, match=r"memory of shape \(3,\) for a vector of shape \(4,\)"):
        feedback.encode(np.ones(4, np.float32), feedback.init(3), RNG)
