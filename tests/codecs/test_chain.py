"""Chains: left to right on the sender, right to left on the receiver; traits, bytes and errors of the parts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.codecs import EF21, FP16, Chain, Codec, Dense, ErrorFeedback, Int8, PerLayer, Sign, TopK
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise, ServerGaussianNoise, TransformTraits
from tests.codecs.codec_list import topk_bytes

UPDATE = np.random.default_rng(0).standard_normal(1000).astype(np.float32)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def coded(codec: Codec[Any], x: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    data, _ = codec.encode(x, codec.init(x.size), draw(seed))
    return codec.decode(data, x.size)


@dataclass(frozen=True)
class Times:
    by: float
    traits = TransformTraits(lossless=True, unbiased=True)

    def apply(self, x: Any, rng_for: Any) -> Any:
        return x * np.float32(self.by)

    def undo(self, x: Any) -> Any:
        return x / np.float32(self.by)


@dataclass(frozen=True)
class Plus:
    by: float
    traits = TransformTraits(lossless=True, unbiased=True)

    def apply(self, x: Any, rng_for: Any) -> Any:
        return x + np.float32(self.by)

    def undo(self, x: Any) -> Any:
        return x - np.float32(self.by)


def test_left_to_right_and_back_from_right_to_left() -> None:
    """x · 2 + 8 is coded; (x · 2 + 8) / 2 − 8, undone in the other order, would be x − 4."""
    x = np.array([1.0, -3.0], np.float32)
    chain = Chain(Times(2.0), Plus(8.0), Dense())
    data, _ = chain.encode(x, chain.init(2), draw())
    assert np.frombuffer(data, "<f4").tolist() == [10.0, 2.0]
    assert chain.decode(data, 2).tolist() == [1.0, -3.0]
    rows = np.stack([x, 2 * x])
    assert chain.decode_rows(chain.encode_rows(rows, None, draw)[0], 2).tolist() == rows.tolist()


@pytest.mark.parametrize("last", [Dense(), FP16(), Int8(block=8), TopK(0.1), PerLayer({"*": Int8(block=8)})], ids=repr)
def test_a_chain_is_its_transforms_and_then_the_codec(last: Codec[Any]) -> None:
    """By hand: clip, add the generator's first 1000 normal numbers, and give the codec the same generator."""
    chain, generator = Chain(ClipNorm(2.0), GaussianNoise(0.5), last), draw(7)
    clipped = UPDATE * np.float32(2.0 / np.sqrt(np.sum(UPDATE.astype(np.float64) ** 2)))
    noisy = (clipped + np.float32(0.5) * generator.standard_normal(1000, np.float32)).astype(np.float32)
    by_hand, _ = last.encode(noisy, last.init(1000), generator)
    data, _ = chain.encode(UPDATE, chain.init(1000), draw(7))
    assert data == by_hand and np.array_equal(chain.decode(data, 1000), last.decode(by_hand, 1000))


def test_rows_draw_as_single_vectors_do() -> None:
    """Noise, and then the rounding of Int8, from one generator a client, which the engine makes anew when asked."""
    chain = Chain(ClipNorm(2.0), GaussianNoise(0.5), Int8(block=8))
    rows = np.stack([UPDATE, -UPDATE, 0 * UPDATE])
    found, _ = chain.encode_rows(rows, None, draw)
    assert [row.tobytes() for row in found] == [chain.encode(rows[k], None, draw(k))[0] for k in range(3)]


def test_a_chain_without_a_codec_ends_in_dense() -> None:
    assert Chain(ClipNorm(1.0)) == Chain(ClipNorm(1.0), Dense())
    assert Chain(Chain(ClipNorm(1.0), GaussianNoise(0.1)).parts[0], Chain(GaussianNoise(0.1), TopK(0.1))) == Chain(
        ClipNorm(1.0), GaussianNoise(0.1), TopK(0.1)
    )


def test_bytes_are_the_codecs() -> None:
    chain = Chain(ClipNorm(1.0), GaussianNoise(0.8), ErrorFeedback(TopK(0.05)))
    assert {len(chain.encode(x, chain.init(1000), draw())[0]) for x in (UPDATE, 0 * UPDATE)} == {topk_bytes(0.05, 1000)}


TRAITS: list[tuple[Codec[Any], set[str]]] = [
    (Chain(Times(2.0), Dense()), {"lossless", "unbiased", "contractive", "codes_rows", "fixed_bytes"}),
    (Chain(Times(2.0), Int8()), {"unbiased", "codes_rows", "fixed_bytes", "ideal_bits"}),
    (
        Chain(Times(2.0), ErrorFeedback(FP16())),
        {"delta_only", "error_compensated", "keeps_errors", "fixed_bytes", "codes_rows"},
    ),
    (Chain(ClipNorm(1.0), Dense()), {"delta_only", "bounds_norm", "codes_rows", "fixed_bytes"}),
    (
        Chain(GaussianNoise(1.0), Int8()),
        {"unbiased", "delta_only", "adds_noise", "codes_rows", "fixed_bytes", "ideal_bits"},
    ),
    (
        Chain(ClipNorm(1.0), GaussianNoise(1.0), ErrorFeedback(TopK(0.1))),
        {"delta_only", "bounds_norm", "adds_noise", "keeps_errors", "fixed_bytes", "ideal_bits"},
    ),
    (
        Chain(ClipNorm(1.0), ServerGaussianNoise(1.0)),
        {"delta_only", "bounds_norm", "adds_noise", "server_part", "codes_rows", "fixed_bytes"},
    ),
    (
        ErrorFeedback(Chain(ClipNorm(1.0), TopK(0.1))),
        {"delta_only", "error_compensated", "keeps_errors", "bounds_norm", "fixed_bytes", "ideal_bits"},
    ),
    (EF21(Sign()), {"delta_only", "keeps_errors", "receiver_memory", "codes_rows", "fixed_bytes", "ideal_bits"}),
    (
        Chain(ClipNorm(1.0), GaussianNoise(1.0), EF21(TopK(0.1))),
        {"delta_only", "bounds_norm", "adds_noise", "keeps_errors", "receiver_memory", "fixed_bytes", "ideal_bits"},
    ),
    (
        PerLayer({"a": EF21()}, Int8()),
        {"delta_only", "keeps_errors", "receiver_memory", "by_layout", "by_name", "ideal_bits"},
    ),
    (PerLayer({"a": Dense()}), {"lossless", "unbiased", "contractive", "by_layout", "by_name"}),
    (
        PerLayer({"a": ErrorFeedback(TopK(0.1))}),
        {"error_compensated", "delta_only", "keeps_errors", "by_layout", "by_name", "ideal_bits"},
    ),
    (
        PerLayer({"a": ErrorFeedback(TopK(0.1))}, Int8()),
        {"delta_only", "keeps_errors", "by_layout", "by_name", "ideal_bits"},
    ),
]


@pytest.mark.parametrize(("codec", "claims"), TRAITS, ids=lambda value: "" if isinstance(value, set) else repr(value))
def test_traits_follow_from_those_of_the_parts(codec: Codec[Any], claims: set[str]) -> None:
    """What is promised holds of all parts, what is demanded of one; what a clip cuts off does not arrive late."""
    assert {name for name, value in vars(codec.traits).items() if value} == claims


def test_clipping_inside_the_memory_bounds_what_is_sent_and_loses_nothing() -> None:
    """Σ x = Σ sent + e, and ‖sent‖ ≤ 1 in every round, although ‖x‖ is 31."""
    codec = ErrorFeedback(Chain(ClipNorm(1.0), TopK(0.2)))
    state, total = codec.init(1000), np.zeros(1000)
    for k in range(5):
        data, state = codec.encode(UPDATE, state, draw(k))
        sent = codec.decode(data, 1000).astype(np.float64)
        assert np.linalg.norm(sent) <= 1 + 1e-6
        total += sent
    assert np.allclose(total + state[0], 5.0 * UPDATE.astype(np.float64), atol=1e-4)


def test_texts_in_an_object_are_for_the_registry() -> None:
    """A chain of texts is not yet checked; whoever makes an experiment of it has it read."""
    from fedmtl.registry.components import make

    assert make("codec", Chain("ClipNorm(1.0)", "TopK(0.1)")) == Chain(ClipNorm(1.0), TopK(0.1))
    with pytest.raises(ValueError, match="put the clipping first"):
        make("codec", Chain("GaussianNoise(1.0)", "ClipNorm(1.0)"))


def test_bytes_that_no_chain_made_are_refused_or_finite() -> None:
    """Every cut, and every flipped bit of the first 40 bytes."""
    chain = Chain(ClipNorm(1.0), GaussianNoise(0.8), ErrorFeedback(TopK(0.05)))
    data, _ = chain.encode(UPDATE, chain.init(1000), draw())
    for end in range(len(data)):
        with pytest.raises(ValueError, match="bytes for 1000 numbers"):
            chain.decode(data[:end], 1000)
    for bit in range(320):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert np.isfinite(chain.decode(bytes(flipped), 1000)).all()
        except ValueError as error:
            assert "damaged or forged" in str(error)
