"""STC and the code of its indices: forged packets, and every choice of indices of small vectors."""

from itertools import combinations

import numpy as np
import pytest

from fedmtl.codecs import STC, GolombTopK, RandK, TopK
from fedmtl.codecs.largest import largest
from fedmtl.codecs.randk import drawn
from fedmtl.codecs.rice import Rice

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_every_choice_of_indices_survives_and_is_no_longer_than_stated(n: int) -> None:
    for k in range(1, n + 1):
        rice, sizes = Rice(k, n), []
        for chosen in combinations(range(n), k):
            data = np.frombuffer(rice.encode(np.array(chosen, np.int64)), np.uint8)
            sizes.append(data.size)
            found = [place for _, index in rice.decode(STC(), data, k) for place in index.tolist()]
            assert found == list(chosen)
        assert max(sizes) == rice.most_bytes() and abs(np.mean(sizes) - rice.typical_bytes()) < 0.5


def test_bits_of_an_index() -> None:
    """b + 1 / (1 - (1 - p)^(2^b)), with b = 6 at 1 % and 4 at 5 %; the entropy is 8.079 and 5.727."""
    for p, bits in ((0.01, 8.108), (0.05, 5.786)):
        index = np.flatnonzero(np.random.default_rng(1).random(1_000_000) < p)
        assert 8 * len(Rice(index.size, 1_000_000).encode(index)) / index.size == pytest.approx(bits, rel=3e-3)


def test_the_largest_are_those_of_a_stable_sort() -> None:
    """Also where a sample of one number in 64 shows a bound too high or too low: zeros, ties, a wave of period 64."""
    rng = np.random.default_rng(2)
    wave = np.where(np.arange(30_000) % 64 == 0, 5.0, rng.random(30_000))
    for x in (rng.random(30_000), rng.random(30_000).round(2), np.zeros(30_000), wave, 5.1 - wave):
        magnitude = x.astype(np.float32)
        for k in (1, 300, 15_000, 30_000):
            expected = np.sort(np.argsort(-magnitude, kind="stable")[:k])
            assert np.array_equal(largest(magnitude, k), expected)


def test_golomb_topk_sends_what_topk_sends_in_fewer_bytes() -> None:
    """At 1 % an index of ``TopK`` has 8.56 bits, here 8.108; with its float32 that is 1.1 % of the packet."""
    x = np.random.default_rng(3).standard_normal(100_000).astype(np.float32)
    one, other = TopK(0.01).encode(x, None, RNG)[0], GolombTopK(0.01).encode(x, None, RNG)[0]
    assert np.array_equal(TopK(0.01).decode(one, x.size), GolombTopK(0.01).decode(other, x.size))
    assert len(other) / len(one) == pytest.approx((32 + 8.108) / (32 + 8.56), rel=1e-3)


def test_random_places_are_even_and_the_least_words() -> None:
    """Each of 50 places is in 2 of 5 draws of 20: 4,000 draws have it 1,600 times, ± 5 · sqrt(4000 · .24) = 155. A draw
    of all is all places."""
    counts = sum(drawn(np.uint32(seed), 50, 20).astype(int) for seed in range(4000))
    assert np.abs(counts - 1600).max() < 155
    assert drawn(np.uint32(1), 9, 9).all() and np.count_nonzero(drawn(np.uint32(1), 9, 1)) == 1
    few, more = drawn(np.uint32(7), 100_000, 100), drawn(np.uint32(7), 100_000, 5000)
    assert more[few].all() and np.count_nonzero(few) == 100


def test_a_number_beyond_float32_becomes_the_largest() -> None:
    x = np.full(10, -3e38, np.float32)
    found = RandK(0.1).decode(RandK(0.1).encode(x, None, RNG)[0], 10)
    assert found.min() == -np.finfo(np.float32).max and np.count_nonzero(found) == 1


def forged(mean: float, count: int, *rest: int) -> bytes:
    return np.array([mean], "<f4").tobytes() + np.array([count], "<u4").tobytes() + bytes(rest)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (forged(np.nan, 2, 0b0100_0000, 0b1000_0000, 0b1001_0000), "finite magnitude"),
        (forged(-1, 2, 0b0100_0000, 0b1000_0000, 0b1001_0000), "finite magnitude"),
        (forged(6, 3, 0b0100_0000, 0b1000_0000, 0b1001_0000), "at most 2 of 8 numbers, got 6 for 3"),
        (forged(6, 2**32 - 1, 0b0100_0000), "at most 2 of 8 numbers"),
        (forged(6, 2, 0b0100_0000), "writes 1 bytes of 2 indices and more, got 0"),
        (forged(6, 2, 0b0100_0000, 0b1000_0000, 0b1000_0000), "marks 2 indices .* got 1"),
        (forged(6, 2, 0b0100_0000, 0b1000_0000, 0b1111_0000), "marks 2 indices .* got 4"),
        (forged(6, 2, 0b0100_0000, 0b1000_0001, 0b1001_0000), "another end"),
        (forged(6, 2, 0b0100_0000, 0b1000_0000, 0b0000_0011), "rising indices below 8, got others, up to 14"),
        (forged(6, 0, 0, 0), "marks 0 indices .* another end"),
    ],
)
def test_refuses_what_no_sender_makes(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}.*reject the reply"):
        STC(0.25).decode(data, 8)


@pytest.mark.parametrize("keep", [0, 1.5, True, "0.1", None])
def test_refuses_what_is_not_a_fraction(keep: object) -> None:
    with pytest.raises(ValueError, match=r"STC keeps a fraction in \(0, 1\], got keep="):
        STC(keep)  # pyright: ignore[reportArgumentType]
