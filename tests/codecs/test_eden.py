"""EDEN: rotations and levels, numbers that few others are like, and what its receiver refuses."""

import numpy as np
import pytest

from fedmtl.codecs import EDEN, Chain, ErrorFeedback, TopK
from fedmtl.codecs.hadamard import ROUNDS, rotate, rotate_back, sign_bits, widths
from fedmtl.codecs.lloyd_max import lloyd_max


@pytest.mark.parametrize("width", [128, 256, 4096, 8192])
def test_a_rotation_keeps_norms_and_angles_and_is_undone(width: int) -> None:
    """As it is a matrix with orthogonal columns; of one number of 1 all are ±1/sqrt(width) after a round, and after
    two or three no larger than some standard deviations."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, width)).astype(np.float32)
    x[2] = np.eye(width, dtype=np.float32)[5]
    signs = sign_bits(np.array([4], np.uint32), 3 * width)[0].reshape(ROUNDS, 3, width // 8)
    signs[:] = signs[:, :1]  # one rotation for all rows
    y = rotate(x.copy(), signs)
    gram = y.astype(np.float64) @ y.T.astype(np.float64) / (x.astype(np.float64) @ x.T.astype(np.float64))[2, 2]
    assert gram / gram[2, 2] == pytest.approx(x.astype(np.float64) @ x.T.astype(np.float64), abs=1e-3)
    assert np.abs(y[2]).max() < 6 * np.sqrt(gram[2, 2] / width)
    assert rotate_back(y, signs) == pytest.approx(x, abs=1e-5)


def test_levels_are_those_of_max() -> None:
    """Table I of Max, 1960, of 2, 4, 8 and 16 levels: the positive ones, and the distortion."""
    published = {
        1: ([0.7980], 0.3634),
        2: ([0.4528, 1.510], 0.1175),
        3: ([0.2451, 0.7560, 1.344, 2.152], 0.03454),
        4: ([0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733], 0.009497),
    }
    for bits, (levels, distortion) in published.items():
        assert lloyd_max(bits)[0] == pytest.approx(levels, rel=5e-4)
        assert lloyd_max(bits)[2] == pytest.approx(distortion, rel=5e-4)
    with pytest.raises(ValueError, match="1 to 4 bits are computed here, got 5"):
        lloyd_max(5)


def test_blocks_are_not_padded_to_a_power_of_two() -> None:
    assert widths(49_536) == [(6, 8192), (1, 256), (1, 128)] and widths(1) == [(1, 128)]
    assert widths(8193) == [(1, 8192), (1, 128)] and widths(8191) == [(1, 8192)]
    for n in range(1, 30_000, 77):
        assert 0 <= sum(count * width for count, width in widths(n)) - n < 128


def test_few_equal_numbers_have_the_right_mean() -> None:
    """Two numbers alone, nearly opposite, are the worst: after two rounds of 128 numbers their mean would be 8 % off.
    Of 4,000 draws the mean has an error of sqrt(.57 / 4000) = 1.2 %, all 128 numbers together."""
    x = np.zeros(128, np.float32)
    x[:2] = 0.126, -0.132
    rows = np.repeat(x[None], 4000, axis=0)
    codec = EDEN()
    found = codec.decode_rows(codec.encode_rows(rows, None, np.random.default_rng)[0], 128).mean(0, dtype=np.float64)
    assert np.linalg.norm(found - x) < 0.025 * np.linalg.norm(x)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0, -np.inf])
def test_refuses_scales_that_no_sender_makes(scale: float) -> None:
    data = bytes(4) + np.array([scale], "<f4").tobytes() + bytes(16)
    with pytest.raises(ValueError, match="makes scales that are finite and not negative, got .*reject the reply"):
        EDEN().decode(data, 3)


def test_any_scale_gives_finite_numbers() -> None:
    """16 bytes of zeros are one sign for all: the rotation back adds up to 128 equal levels times the largest scale."""
    data = bytes(4) + np.array([np.finfo(np.float32).max], "<f4").tobytes() + bytes(16)
    assert np.isfinite(EDEN().decode(data, 128)).all()


@pytest.mark.parametrize("bits", [0, 5, 1.0, True, "2", None])
def test_refuses_what_is_no_number_of_bits(bits: object) -> None:
    with pytest.raises(ValueError, match="EDEN takes 1, 2, 3 or 4 bits a number, got bits="):
        EDEN(bits=bits)  # pyright: ignore[reportArgumentType]


def test_is_refused_behind_a_codec_that_leaves_zeros_and_in_a_memory() -> None:
    with pytest.raises(ValueError, match=r"EDEN\(bits=1\) rotates, .*of the zeros that TopK.* leaves.*STC.*move TopK"):
        Chain(TopK(0.1), EDEN())
    with pytest.raises(ValueError, match="repairs biased codecs, got EDEN.* unbiased; use it bare"):
        ErrorFeedback(EDEN())
