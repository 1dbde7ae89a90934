"""FP16 at the ends of its range."""

import numpy as np
import pytest

from fedmtl.codecs import FP16

CODEC = FP16()
RNG = np.random.default_rng(0)


def around(*x: float) -> list[float]:
    vector = np.array(x, np.float32)
    return CODEC.decode(CODEC.encode(vector, None, RNG)[0], vector.size).tolist()


def test_ordinary_numbers_are_plain_casts() -> None:
    """From 2^-14 to 65504 in magnitude, a power of two before and after the cast changes nothing."""
    draw = np.random.default_rng(3)
    x = (2.0 ** draw.uniform(-14, 15.99, 5000) * np.sign(draw.standard_normal(5000))).astype(np.float32)
    assert around(*x) == x.astype(np.float16).astype(np.float32).tolist()


@pytest.mark.parametrize("size", [65505.0, 1e30, 3.4e38, float(np.finfo(np.float32).max)])
def test_large_numbers_pass(size: float) -> None:
    found = around(size, -size, size / 3, 0.0)
    assert np.allclose(found, [size, -size, size / 3, 0], rtol=2.0**-11, atol=0)


def test_rounds_to_nearest_ties_to_even() -> None:
    """Between 1 and 2 the numbers are 2^-10 apart."""
    step = 2.0**-10
    assert around(1 + 0.49 * step, 1 + 0.51 * step) == [1.0, 1 + step]
    assert around(1 + 0.5 * step, 1 + 1.5 * step) == [1.0, 1 + 2 * step]


@pytest.mark.parametrize("exponent", [-149, -148, -140, -126, -100, -60, -25, -24])
def test_small_numbers_keep_eleven_bits(exponent: int) -> None:
    """Or those that float32 has of them: 2^-149 is its least. All were 0, or a multiple of 2^-24, before."""
    x = np.ldexp(np.array([1.0, 1.4, -1.9], np.float32), exponent).astype(np.float32)
    assert np.allclose(around(*x), x, rtol=2.0**-11, atol=0)


def test_a_block_of_unlike_numbers_keeps_thirty_nine_bits_below_its_largest() -> None:
    """1 and 2^-28 keep eleven bits, 2^-35 keeps those above 2^-38, and the next block has an exponent of its own."""
    first = [1.0, 2.0**-28, 1.3 * 2.0**-28, 1.25 * 2.0**-35] + [0.0] * 252
    found = around(*first, 1.3e-30)
    assert np.allclose(found[:4], first[:4], rtol=2.0**-11, atol=2.0**-39)
    assert found[256] == pytest.approx(1.3e-30, rel=2.0**-11)


@pytest.mark.parametrize("exponent", [-128, -127, 114, 127])
def test_refuses_exponents_that_no_sender_makes(exponent: int) -> None:
    with pytest.raises(ValueError, match="exponents from -126 to 113, got .*reject the reply"):
        CODEC.decode(np.array([exponent], np.int8).tobytes() + np.array([1.0], "<f2").tobytes(), 1)


def test_refuses_infinity_in_the_bytes() -> None:
    with pytest.raises(ValueError, match="finite numbers, got bytes that hold 1 others"):
        CODEC.decode(b"\0" + np.array([1.0, np.inf], "<f2").tobytes(), 2)
    with pytest.raises(ValueError, match="finite numbers, got bytes that hold 1 others"):
        CODEC.decode(bytes([113]) + np.array([1.0, 2.0**15], "<f2").tobytes(), 2)
