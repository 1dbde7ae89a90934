"""Ideal bits of packets, against entropies that are worked out here from decoded vectors, or stand in papers.

32 bits a scale, and n H of the levels q = x' / s, H from how often numpy finds each                     (1)
log2 C(n, k), exact whole numbers by ``math.comb``, of the places of k numbers of n                      (2)
H of the Lloyd-Max levels of a normal number: 1, 1.911, 2.825 and 3.765 bits (Max 1960, table I)         (3)
"""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.codecs import (
    EDEN,
    EF21,
    QSGD,
    STC,
    Chain,
    ErrorFeedback,
    GolombTopK,
    Int4,
    Int8,
    PerLayer,
    Sign,
    TernGrad,
    TopK,
)
from fedmtl.codecs.entropy import joint_counts
from fedmtl.codecs.layout import layout_of
from fedmtl.codecs.transforms import ClipNorm
from tests.codecs.codec_list import ALL_CODECS
from tests.codecs.fuzz import packets

MODELLED = [case.codec for case in ALL_CODECS if case.codec.traits.ideal_bits and not case.codec.traits.by_layout]
N = 2**17 + 3


def gaussian(n: int = N, seed: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(n, np.float32)


def coded(codec: Any, x: NDArray[np.float32], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a packet [1, bytes] and what is decoded."""
    data, _ = codec.encode(x, codec.init(x.size), np.random.default_rng(seed))
    return np.frombuffer(data, np.uint8)[None], codec.decode(data, x.size)


def entropy(symbols: NDArray[Any]) -> float:
    """n H."""
    counts = np.unique(symbols, return_counts=True)[1]
    return float(-counts @ np.log2(counts / symbols.size))


@pytest.mark.parametrize(("codec", "top"), [(Int8(), 127), (Int4(), 7), (TernGrad(), 1), (Int4(100), 7)])
def test_levels_of_blocks(codec: Any, top: int) -> None:
    """(1) with the s of each block; 3 + 2^17 numbers fill no last block, byte or five."""
    x = gaussian()
    data, decoded = coded(codec, x)
    scales = np.maximum.reduceat(np.abs(x), np.arange(0, N, codec.block)) / top
    q = np.rint(decoded / np.repeat(scales, codec.block)[:N])
    assert codec.ideal_bits(data, N)[0] == pytest.approx(32 * scales.size + entropy(q), rel=1e-9)


@pytest.mark.parametrize(("codec", "head"), [(Sign(), 32), (QSGD(), 64), (QSGD(levels=7), 64)])
@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_levels_of_one_scale(codec: Any, head: int, shift: float) -> None:
    """Each level is another number of x'; more of them are positive where the mean is."""
    data, decoded = coded(codec, gaussian() + np.float32(shift))
    assert codec.ideal_bits(data, N)[0] == pytest.approx(head + entropy(decoded), rel=1e-9)


@pytest.mark.parametrize(("bits", "entropy"), [(1, 1.0), (2, 1.911), (3, 2.825), (4, 3.765)])
def test_lloyd_max_levels_of_a_rotated_vector(bits: int, entropy: float) -> None:
    """(3), of any vector that is rotated, and 32 bits for the seed and for each block of 8192 numbers; the last block's
    3 numbers are filled up to 128."""
    x = gaussian() ** 3
    data, _ = coded(EDEN(bits), x)
    found = EDEN(bits).ideal_bits(data, N)[0]
    assert (found - 32 * (1 + 17)) / (N + 125) == pytest.approx(entropy, abs=3e-3)
    assert found <= 8 * data.size


def test_planes_of_bits_as_symbols() -> None:
    bits = np.random.default_rng(0).random((3, 4, 80)) < np.array([0.5, 0.2, 0.8, 0.6])[:, None]
    symbols = (bits * np.array([1, 2, 4, 8])[:, None]).sum(1)
    expected = [np.bincount(row, minlength=16) for row in symbols]
    assert np.array_equal(joint_counts(np.packbits(bits, axis=2)), expected)


@pytest.mark.parametrize("codec", [TopK(0.01), GolombTopK(0.01)])
def test_places_of_the_largest(codec: Any) -> None:
    """(2), at 1 % 8.079 bits a number by H₂(p) / p, less ½ log2(2π n p (1 - p)) / k = .0048 here; Golomb's code takes
    a few in a thousand more."""
    k = math.ceil(N / 100)
    data, _ = coded(codec, gaussian())
    found = codec.ideal_bits(data, N)[0]
    assert found == pytest.approx(32 * k + math.log2(math.comb(N, k)), rel=1e-9)
    assert found / k - 32 == pytest.approx(8.079 - 0.0048, abs=1e-3)
    more = 8 * data.size / found
    assert 1 < more < 1.002 if isinstance(codec, GolombTopK) else 1.01 < more < 1.02


@pytest.mark.parametrize(("codec", "shift"), [(STC(0.01), 0.0), (STC(0.01), 0.3), (STC(0.25), 0.1)])
def test_signs_and_places(codec: Any, shift: float) -> None:
    """64 bits of μ and k, (2), and k H of the signs: the packet's own are within a few in a hundred of these."""
    data, decoded = coded(codec, gaussian() + np.float32(shift))
    kept = decoded[decoded != 0]
    places = math.log2(math.comb(N, kept.size))
    found = codec.ideal_bits(data, N)[0]
    assert found == pytest.approx(64 + places + entropy(kept), rel=1e-9)
    assert shift or 1 < 8 * data.size / found < 1.03
    few, some = coded(codec, np.eye(1, 50, 7, dtype=np.float32)[0])  # fewer numbers than would be kept
    assert np.count_nonzero(some) == 1 and codec.ideal_bits(few, 50)[0] == pytest.approx(64 + math.log2(50))


def test_wrappers_have_those_of_their_parts() -> None:
    x, inner = gaussian(5000), STC(0.1)
    data, _ = coded(inner, x)
    for codec in (
        ErrorFeedback(inner),
        EF21(inner),
        Chain(ClipNorm(1e9), inner),
        ErrorFeedback(Chain(ClipNorm(1e9), inner)),
    ):
        assert codec.traits.ideal_bits and codec.ideal_bits(data, 5000) == inner.ideal_bits(data, 5000)
    layout = layout_of([("m/w", (3000,)), ("m/b", (2000,))])
    for other, fixed in ((Int4(), True), (STC(0.2), False)):
        layers = PerLayer({"w": other}, default=TopK(0.1))
        codec: Any = layers.bind(layout)
        data, _ = coded(codec, x)
        one, _ = coded(other, x[:3000])
        two, _ = coded(TopK(0.1), x[3000:])
        assert data.shape[1] == one.size + two.size + (0 if fixed else 4)
        assert (
            layers.traits.ideal_bits
            and codec.ideal_bits(np.concatenate([data, data]), 5000).tolist()
            == [pytest.approx(other.ideal_bits(one, 3000)[0] + TopK(0.1).ideal_bits(two, 2000)[0])] * 2
        )
    plain: Any = PerLayer({"w": Int4()}).bind(layout)
    data, _ = coded(plain, x)
    assert plain.ideal_bits(data, 5000)[0] == 32 * 2000 + Int4().ideal_bits(data[:, : -4 * 2000], 3000)[0]


@pytest.mark.parametrize("codec", MODELLED, ids=repr)
def test_rows_and_hostile_packets(codec: Any) -> None:
    """A cohort's are those of each row, at most the packet's bits of a Gaussian vector; what it refuses ``decode``
    refuses with the same words, and of all else it makes a number of a few bits beyond the packet's."""
    size = 4097
    vectors = [gaussian(size, seed) for seed in range(3)]
    each = [coded(codec, x, seed)[0] for seed, x in enumerate(vectors)]
    alone = [codec.ideal_bits(data, size)[0] for data in each]
    assert all(0 < bits <= 8 * data.size for bits, data in zip(alone, each, strict=True))
    if codec.traits.codes_rows:
        assert codec.ideal_bits(np.concatenate(each), size).tolist() == alone
    for data, size in packets(codec, 150, 1, (1, 2, 31, 257, 1000)):
        try:
            (bits,) = codec.ideal_bits(np.frombuffer(data, np.uint8)[None], size)
        except ValueError as error:
            with pytest.raises(ValueError) as found:
                codec.decode(data, size)
            assert str(found.value) == str(error)
        else:
            assert 0 <= bits < np.inf
