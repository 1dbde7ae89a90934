"""TopK: which numbers it keeps, where its bits lie, and what its receiver refuses."""

import numpy as np
import pytest

from fedmtl.codecs import TopK

RNG = np.random.default_rng(0)


def encode(codec: TopK, *x: float) -> bytes:
    return codec.encode(np.array(x, np.float32), None, RNG)[0]


def kept(keep: float, *x: float) -> list[float]:
    codec = TopK(keep)
    return codec.decode(encode(codec, *x), len(x)).tolist()


def test_keeps_the_largest_magnitudes() -> None:
    assert kept(0.5, 1, -4, 3, -2) == [0, -4, 3, 0]


def test_the_first_of_equals_are_kept() -> None:
    assert kept(0.5, 1, -2, 2, 2) == [0, -2, 2, 0]
    assert kept(0.75, 2, 1, -1, 1) == [2, 1, -1, 0]


@pytest.mark.parametrize(("keep", "n", "k"), [(0.07, 100, 7), (0.05, 1, 1), (0.05, 21, 2), (1 / 3, 3, 1), (1, 5, 5)])
def test_keeps_as_many_as_the_decimal_fraction_says(keep: float, n: int, k: int) -> None:
    """Among them 0.07 * 100, which is 7.000000000000001 in binary."""
    assert np.count_nonzero(kept(keep, *np.ones(n))) == k


def test_packet_by_hand() -> None:
    """n = 8, k = 2, so l = 2, and the high part has 2 + floor(7/4) = 3 bits.

    Index 1 = 0·4 + 1: lower bits 1, 0, a one at 0 + 0. Index 6 = 1·4 + 2: lower bits 0, 1, a one at 1 + 1.
    Low part 1001, high part 101, each filled up with zeros to a byte.
    """
    data = encode(TopK(0.25), 0, 5, 0, 0, 0, 0, -7, 0)
    assert data == np.array([5, -7], "<f4").tobytes() + bytes([0b1001_0000, 0b1010_0000])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9, 63, 64, 65, 100])
def test_every_single_index_survives(n: int) -> None:
    codec = TopK(1e-9)
    for i in range(n):
        x = np.zeros(n, np.float32)
        x[i] = 1
        assert np.array_equal(codec.decode(codec.encode(x, None, RNG)[0], n), x)


def test_millions_of_numbers() -> None:
    """Against a stable sort, which puts the first of equals first."""
    x = np.random.default_rng(1).standard_normal(2_000_003, np.float32).round(3)
    codec = TopK(0.01)
    index = np.argsort(-np.abs(x), kind="stable")[:20_001]
    expected = np.zeros_like(x)
    expected[index] = x[index]
    assert np.array_equal(codec.decode(codec.encode(x, None, RNG)[0], x.size), expected)


def forged(values: list[float], low: int, high: int) -> bytes:
    return np.array(values, "<f4").tobytes() + bytes([low, high])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (forged([1, np.nan], 0b1001_0000, 0b1010_0000), "finite numbers"),
        (forged([1, 2], 0b1001_0000, 0b1000_0000), "marks 2 indices and ends in zeros, got 1"),
        (forged([1, 2], 0b1001_0000, 0b1110_0000), "marks 2 indices and ends in zeros, got 3"),
        (forged([1, 2], 0b1001_0000, 0b1000_0001), "wrong end"),
        (forged([1, 2], 0b1001_0001, 0b1010_0000), "wrong end"),
        (forged([1, 2], 0b1010_0000, 0b1100_0000), "rising indices below 8"),  # 1, 1
        (forged([1, 2], 0b0110_0000, 0b1100_0000), "rising indices below 8"),  # 2, 1
    ],
)
def test_refuses_what_no_sender_makes(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TopK(0.25).decode(data, 8)


def test_refuses_an_index_beyond_the_vector() -> None:
    """n = 7, k = 1, l = 2: low bits 1, 1 and a one at 1 make index 7."""
    data = np.array([1], "<f4").tobytes() + bytes([0b1100_0000, 0b0100_0000])
    with pytest.raises(ValueError, match="rising indices below 7, got others, up to 7"):
        TopK(0.1).decode(data, 7)


def test_size_does_not_follow_rounding() -> None:
    """Two engines' updates differ by rounding, so in which numbers are kept, but not in bytes."""
    x = np.random.default_rng(2).standard_normal(10_000, np.float32)
    y = (x + 1e-3 * np.random.default_rng(3).standard_normal(10_000)).astype(np.float32)
    one, other = (TopK().encode(v, None, RNG)[0] for v in (x, y))
    assert len(one) == len(other) and one != other


@pytest.mark.parametrize("keep", [0, -0.1, 2.0, float("nan"), float("inf"), True, "0.1", None])
def test_refuses_what_is_not_a_fraction(keep: object) -> None:
    with pytest.raises(ValueError, match=r"TopK keeps a fraction in \(0, 1\], got keep="):
        TopK(keep)  # pyright: ignore[reportArgumentType]
