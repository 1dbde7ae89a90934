"""EF21: both sides remember the same, an x that stands still arrives, and descent is as its theorem says."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.codecs import EDEN, EF21, FP16, STC, Chain, Dense, ErrorFeedback, GolombTopK, Int8, PerLayer, Sign, TopK
from fedmtl.codecs.layout import layout_of
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise
from tests.cases import case
from tests.codecs.test_chain import Times
from tests.codecs.test_error_feedback import NODES, RNG, descend, gradients

LAYOUT = layout_of([("w/a", (20, 20)), ("w/b", (100,))])


def topk_of(x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Plain numpy: the k numbers of largest magnitude."""
    kept = np.zeros_like(x)
    some = np.argsort(-np.abs(x), kind="stable")[:k]
    kept[some] = x[some]
    return kept


def test_one_step_and_more_are_those_of_plain_numpy() -> None:
    """g' = g + C(x - g) with top-1 of 4, of numbers that float32 holds: equal, on both sides, each step."""
    codec, rng = EF21(TopK(0.25)), np.random.default_rng(3)
    state, memory, by_hand = codec.init(4), np.zeros(4, np.float32), np.zeros(4)
    for _ in range(4):
        x = rng.permutation([-8.0, 3, 1, 0.5]) + rng.integers(-4, 5, 4)
        by_hand = by_hand + topk_of(x - by_hand, 1)
        data, state = codec.encode(x.astype(np.float32), state, RNG)
        found, memory = codec.receive(data, memory)
        assert tuple(found) == tuple(memory) == tuple(state[0]) == tuple(by_hand)


def test_memories_of_both_sides_are_equal_and_a_vector_that_stands_still_arrives() -> None:
    """With each contractive codec, bit for bit over 100 vectors that move; and then ‖x - g'‖² ≤ (1 - δ) ‖x - g‖², with
    δ of k / n = .05 for top-k and of at least 1 / n for the others, whatever is left."""
    rng = np.random.default_rng(1)
    inner: list[tuple[Any, float]] = [(TopK(0.05), 0.05), (GolombTopK(0.05), 0.05), (STC(0.05), 1 / 500)]
    inner += [(Sign(), 1 / 500), (FP16(), 0.9), (Dense(), 0.9)]
    inner += [(PerLayer({"a": TopK(0.05)}, STC(0.1)).bind(LAYOUT), 1 / 500)]
    for one, delta in inner:
        codec, x = EF21(one), rng.standard_normal(500)
        state, memory = codec.init(LAYOUT), np.zeros(500, np.float32)
        with case(codec):
            for k in range(130):
                x = x + 0.1 * rng.standard_normal(500) if k < 100 else x
                before = float(np.sum((x.astype(np.float32) - memory.astype(np.float64)) ** 2))
                data, state = codec.encode(x.astype(np.float32), state, RNG)
                found, memory = codec.receive(data, memory)
                assert state[0].dtype == np.float32
                assert found.tobytes() == memory.tobytes() == state[0].tobytes()
                after = float(np.sum((x.astype(np.float32) - memory.astype(np.float64)) ** 2))
                assert after <= (1 - delta) * before + 1e-9


def test_it_stands_in_chains_and_for_some_layers() -> None:
    """By layer, the other parts are decoded as they are. In a chain the memory is of what the codec codes, and is added
    before a transform is undone: of 2 x, in whole numbers, x' is x in each round."""
    rng, codec = np.random.default_rng(2), PerLayer({"a": EF21(TopK(0.1))}, default=Int8()).bind(LAYOUT)
    state, memory = codec.init(LAYOUT), np.zeros(500, np.float32)
    alone, held = EF21(TopK(0.1)), np.zeros(400, np.float32)
    own = alone.init(400)
    for _ in range(3):
        x = rng.standard_normal(500).astype(np.float32)
        data, state = codec.encode(x, state, np.random.default_rng(0))
        found, memory = codec.receive(data, memory)
        step, own = alone.encode(x[:400], own, RNG)
        held = alone.receive(step, held)[1]
        assert found[:400].tobytes() == held.tobytes() == memory[:400].tobytes() and not memory[400:].any()
        assert np.abs(found[400:] - x[400:]).max() < 0.05
    chain = Chain(ClipNorm(1.0), GaussianNoise(0.1), EF21(TopK(0.2)))
    assert chain.traits.receiver_memory and PerLayer({"a": EF21()}).traits.receiver_memory
    double, state, memory = Chain(Times(2.0), EF21(Dense())), (np.zeros(4, np.float32), None), np.zeros(4, np.float32)
    for x in rng.integers(-9, 9, (3, 4)).astype(np.float32):
        data, state = double.encode(x, state, RNG)
        found, memory = double.receive(data, memory)
        assert tuple(found) == tuple(x) and tuple(memory) == tuple(2 * x) == tuple(state[0])
    x = rng.standard_normal(500).astype(np.float32)
    data, after = chain.encode(x, chain.init(500), np.random.default_rng(0))
    assert chain.receive(data, np.zeros(500, np.float32))[1].tobytes() == after[0].tobytes()


def test_top_1_with_a_memory_on_both_sides_converges() -> None:
    """Where top-1 alone grows by 1 + 11 lr/6 a step (``test_error_feedback``): 100 plain steps of 0.1 leave 4e-6."""
    assert np.abs(descend(EF21(TopK(1 / 3)), rounds=100)[-1]).max() < 1e-5


def test_descent_is_as_fast_as_the_theorem_says() -> None:
    """Theorem 2 of arXiv:2106.05203, from any start, with α = 1/3 of top-1, θ = 1 - √(1 - α), β = (1 - α) / θ: while
    γ ≤ 1 / (L + L̃ √(2 β / θ)) and γ ≤ θ / 2 μ, f - f* + γ/θ mean ‖g_k - ∇f_k‖² shrinks by 1 - γ μ a step. f* = 0."""
    second = 2 * NODES[:, :, None] * NODES[:, None] + np.eye(3) / 2
    largest = np.linalg.eigvalsh(second)[:, -1]
    curvature = np.linalg.eigvalsh(second.mean(0))
    theta = 1 - np.sqrt(1 - 1 / 3)
    beta = (1 - 1 / 3) / theta
    lr = 1 / (curvature[-1] + np.sqrt(np.mean(largest**2)) * np.sqrt(2 * beta / theta))
    path = descend(EF21(TopK(1 / 3)), rounds=400, lr=lr, start=(1, 0.3, -0.5))

    def f(x: NDArray[np.float64]) -> float:
        return float(np.mean((NODES @ x) ** 2) + x @ x / 4)

    first = gradients(path[0])
    left = np.mean([np.sum((topk_of(one, 1) - one) ** 2) for one in first])
    start = f(path[0]) + lr / theta * left
    assert all(f(x) <= (1 - lr * curvature[0]) ** t * start * (1 + 1e-5) for t, x in enumerate(path))


@pytest.mark.parametrize(
    ("codec", "error", "message"),
    [
        (Int8(), ValueError, "takes a contractive codec.*got Int8.*Use TopK, STC"),
        (EDEN(2), ValueError, "takes a contractive codec"),
        (Chain(ClipNorm(1.0), TopK()), ValueError, "takes a contractive codec"),
        (ErrorFeedback(), ValueError, "EF21 keeps one memory, got ErrorFeedback"),
        (EF21(), ValueError, "EF21 keeps one memory, got EF21"),
        (TopK, TypeError, "wraps a codec such as TopK"),
        ("topk", TypeError, "wraps a codec such as TopK"),
    ],
    ids=repr,
)
def test_refuses(codec: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        EF21(codec)


def test_refuses_a_memory_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"memory of shape \(3,\) for a vector of shape \(4,\)"):
        EF21().encode(np.ones(4, np.float32), EF21().init(3), RNG)
    with pytest.raises(ValueError, match="ErrorFeedback keeps one memory, got EF21"):
        ErrorFeedback(EF21())
    with pytest.raises(ValueError, match="may be longer than its bound"):
        Chain(ClipNorm(1.0), EF21())
