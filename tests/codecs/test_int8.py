"""Int8: its scales, its chance, and the ends of float32."""

import math
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.codecs import Int8

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def around(codec: Int8, x: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    return codec.decode(codec.encode(x, None, np.random.default_rng(seed))[0], x.size)


def often(x: NDArray[np.float32], seeds: int) -> NDArray[np.float32]:
    """What arrives with each of the seeds from 0 on, coded in one pass, which tests/codecs/test_rows.py compares with
    passes of their own."""
    rows, _ = Int8().encode_rows(np.tile(x, (seeds, 1)), None, np.random.default_rng)
    return Int8().decode_rows(rows, x.size)


def test_every_coordinate_is_unbiased() -> None:
    """By Hoeffding, the mean of S values within a step s is off by more than s sqrt(ln(2/δ) / 2S) with chance δ."""
    x = np.random.default_rng(1).standard_normal(200).astype(np.float32)
    step = np.abs(x).max() / 127
    mean = np.mean(often(x, 4000), axis=0, dtype=np.float64)
    bound = step * math.sqrt(math.log(2 / 1e-9) / (2 * 4000))
    assert np.abs(mean - x).max() < bound < 0.06 * step


def test_error_is_less_than_a_step_of_its_own_block() -> None:
    """Blocks of 4 with very different sizes, the last one short: scales 127, 1.27 and 0.0127 over 127."""
    x = np.array([127, 50.5, -3, 0, 1.27, -0.333, 0.2, 0.1, 0.0127, 0.0051], np.float32)
    steps = np.array([1, 1, 1, 1, 0.01, 0.01, 0.01, 0.01, 0.0001, 0.0001])
    for seed in range(20):
        assert (np.abs(around(Int8(block=4), x, seed) - x) < steps * (1 + 1e-5)).all()


def test_chance_comes_from_the_generator() -> None:
    x = np.random.default_rng(1).standard_normal(100).astype(np.float32)
    packets = {Int8().encode(x, None, np.random.default_rng(seed))[0] for seed in range(5)}
    assert len(packets) == 5


def test_unlucky_chance_does_not_overflow() -> None:
    """u = 0 rounds up whatever is not a level, also a largest number that is 127 scales and a rounding error.

    Blocks of one number: each is its own largest. Level 128 would wrap to -128.
    """

    class Unlucky:
        def random(self, size: int, dtype: Any) -> NDArray[Any]:
            return np.zeros(size, dtype)

    x = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    codec = Int8(block=1)
    y = codec.decode(codec.encode(x, None, cast(np.random.Generator, Unlucky()))[0], x.size)
    assert (np.abs(y - x) <= np.abs(x) / 127 * (1 + 1e-4)).all()


def test_a_block_of_zeros_between_others() -> None:
    x = np.concatenate([np.ones(8), np.zeros(8), np.full(8, 1e-3)]).astype(np.float32)
    y = around(Int8(block=8), x)
    assert np.allclose(y, x, rtol=1 / 127, atol=0) and not y[8:16].any()


@pytest.mark.parametrize("size", [SMALLEST, 130 * SMALLEST, 1e-44, 1e-40, 1e-38, 1e-36, 1e-30, 1e30, LARGEST])
def test_ends_of_float32(size: float) -> None:
    """No overflow, no division by zero, and still unbiased: the mean of 3 size/4 over 2000 seeds is near it. An error
    is less than a step of size / 127 and what the nearest float32 is off, at most half of its least."""
    x = np.array([size, -size, 0.75 * size, 0], np.float32)
    step, half = size / 127, SMALLEST / 2
    decoded = often(x, 2000).astype(np.float64)
    assert np.isfinite(decoded).all()
    assert (np.abs(decoded - x) <= step * (1 + 1e-5) + half).all()
    assert np.abs(decoded.mean(0) - x).max() < step * math.sqrt(math.log(2 / 1e-9) / 4000) + half


def test_a_block_may_be_longer_than_the_vector() -> None:
    x = np.array([1, -1, 0.5], np.float32)
    assert np.allclose(around(Int8(block=10**9), x), x, atol=1 / 127)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0, -1e-7, -1e-20, 0.0, 1e-40, LARGEST])
def test_refuses_scales_that_no_sender_makes(scale: float) -> None:
    data = np.array([scale], "<f4").tobytes() + bytes(3)
    with pytest.raises(ValueError, match="makes scales from .*reject the reply"):
        Int8().decode(data, 3)


def test_refuses_the_level_that_no_sender_makes() -> None:
    data = np.array([1], "<f4").tobytes() + np.array([-128], np.int8).tobytes()
    with pytest.raises(ValueError, match="levels from -127 to 127, got -128"):
        Int8().decode(data, 1)


@pytest.mark.parametrize("block", [0, -1, 2.0, True, "256", None])
def test_refuses_what_is_not_a_number_of_elements(block: object) -> None:
    with pytest.raises(ValueError, match="whole number of at least 1, got block="):
        Int8(block=block)  # pyright: ignore[reportArgumentType]
