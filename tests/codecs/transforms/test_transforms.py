"""ClipNorm, GaussianNoise and ServerGaussianNoise by their equations."""

from typing import Any

import numpy as np
import pytest

from fedmtl.codecs.transforms import ClipNorm, GaussianNoise, ServerGaussianNoise


def norm(x: Any) -> float:
    return float(np.linalg.norm(x.astype(np.float64)))


def test_a_long_update_keeps_its_direction_and_a_short_one_its_bits() -> None:
    """‖(3, 4)‖ = 5, so S = 2 gives (1.2, 1.6); ‖(0.3, 0.4)‖ = 0.5 stays; S is of the whole vector, float64 inside."""
    x = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], np.float32)
    found = ClipNorm(2.0).apply(x, np.random.default_rng)
    assert np.allclose(found[0], [1.2, 1.6], rtol=1e-6) and found[1:].tobytes() == x[1:].tobytes()
    large = np.full((1, 10_000), 1e30, np.float32)  # squares are beyond float32
    assert norm(ClipNorm(1.0).apply(large, np.random.default_rng)) == pytest.approx(1.0)
    small = np.full((1, 4), 1e-30, np.float32)  # squares are below float32
    assert np.linalg.norm(ClipNorm(1e-31).apply(small, np.random.default_rng).astype(np.float64)) == pytest.approx(
        1e-31
    )


def test_noise_has_the_moments_of_a_normal_number() -> None:
    """n = 10^6: mean 0 ± 5σ/√n, variance σ² (1 ± 5 √(2/n)), kurtosis 3 ± 5 √(24/n); clients are uncorrelated."""
    n, std = 10**6, 0.8
    x = np.full((2, n), 3.0, np.float32)
    noise = (GaussianNoise(std).apply(x, np.random.default_rng) - x).astype(np.float64)
    for row in noise:
        assert abs(row.mean()) < 5 * std / n**0.5
        assert abs(row.var() / std**2 - 1) < 5 * (2 / n) ** 0.5
        assert abs((row**4).mean() / std**4 - 3) < 5 * (24 / n) ** 0.5 * 2
    assert abs((noise[0] * noise[1]).mean()) < 5 * std**2 / n**0.5


def test_server_noise_is_on_the_mean() -> None:
    """The sum of weight N gets N σ z, so the mean gets σ z: n = 10^6 numbers of variance σ² (1 ± 5 √(2/n))."""
    n = 10**6
    total = np.full(n, 12.0)
    after = ServerGaussianNoise(0.25).on_sum(total, 4.0, np.random.default_rng(0)) / 4.0
    assert abs(after.mean() - 3.0) < 5 * 0.25 / n**0.5
    assert abs(after.var() / 0.25**2 - 1) < 5 * (2 / n) ** 0.5
    assert total.max() == total.min() == 12.0


@pytest.mark.parametrize("cls", [ClipNorm, GaussianNoise, ServerGaussianNoise])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), True, "1", None])
def test_fields_are_finite_numbers(cls: type, value: object) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__} takes a finite number, .*, got .*{value!r}"):
        cls(value)
    if cls is not ClipNorm:
        assert cls(0).std == 0
