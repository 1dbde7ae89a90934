"""Int8 weights against numbers worked by hand, and against numpy in float64."""

import numpy as np
import pytest
import torch

from fedmtl.export.quantize import Quantised, dequantise, quantise

W = torch.tensor(
    [
        [31.75, -0.3, 0.125, 0.375, -0.625],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [-254.0, 253.0, 1.0, 3.0, -7.0],
    ]
)


def weight(params: dict[str, torch.Tensor | Quantised], name: str = "w") -> Quantised:
    found = params[name]
    assert isinstance(found, Quantised)
    return found


def test_scale_and_rounding_by_hand() -> None:
    """s = max/127: 31.75/127 = 1/4 and 254/127 = 2.

    Row 0 in units of s: 127, −1.2, 0.5, 1.5, −2.5, of which ties go to the even: 127, −1, 0, 2, −2, times 1/4.
    Row 1 is 0 and stays so. Row 2: −127, 126.5, 0.5, 1.5, −3.5 become −127, 126, 0, 2, −4, times 2.
    """
    small = quantise({"w": W, "b": torch.tensor([0.1, -7.0, 1e-9])})
    levels, scales = weight(small)
    assert levels.dtype == torch.int8 and scales.dtype == torch.float32
    assert scales[[0, 2]].tolist() == [0.25, 2.0]
    assert levels.tolist() == [[127, -1, 0, 2, -2], [0, 0, 0, 0, 0], [-127, 126, 0, 2, -4]]
    back = dequantise(small)
    assert back["w"].tolist() == [[31.75, -0.25, 0, 0.5, -0.5], [0] * 5, [-254, 252, 0, 4, -8]]
    assert torch.equal(back["b"], torch.tensor([0.1, -7.0, 1e-9]))  # a vector stays


@pytest.mark.parametrize("shape", [(7, 30), (4, 3, 5, 5), (1, 1), (3, 2, 9)])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_half_a_scale_is_the_largest_error(shape: tuple[int, ...], size: float) -> None:
    """|w' − w| <= s/2, and a ten-thousandth for float32's own rounding of 127 levels (127 · 2⁻²³ < 2e-5 levels).

    Levels are numpy's in float64, but for weights that are so near a tie that float32 may see another side.
    """
    w = size * torch.randn(shape, generator=torch.Generator().manual_seed(3))
    levels, scales = weight(small := quantise({"w": w}))
    wide = w.double().numpy().reshape(shape[0], -1)
    s = np.abs(wide).max(1, keepdims=True) / 127
    np.testing.assert_allclose(scales.numpy(), s[:, 0], rtol=1e-6)
    exact = wide / s
    clear = np.abs(np.abs(exact - np.floor(exact)) - 0.5) > 1e-4
    assert clear.mean() > 0.9
    assert (levels.numpy().reshape(shape[0], -1) == np.round(exact))[clear].all()
    error = np.abs(dequantise(small)["w"].double().numpy().reshape(shape[0], -1) - wide)
    assert (error <= s / 2 * 1.0001).all()


def test_the_ends_of_float32() -> None:
    """The largest float32 does not become infinite; numbers below the least normal one, 1.2e-38, become 0 or it."""
    largest = torch.finfo(torch.float32).max
    back = dequantise(quantise({"w": torch.tensor([[largest, -largest], [1e-40, -1e-39]])}))["w"]
    assert back.isfinite().all()
    assert back[0].tolist() == pytest.approx([largest, -largest], rel=1e-6)
    assert (back[1].abs() <= torch.finfo(torch.float32).tiny).all()


def test_a_channel_is_the_first_dimension() -> None:
    """Two filters, the second 128 times the first: equal levels, and 128 times the scale."""
    one = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    levels, scales = weight(quantise({"w": torch.cat([one, 128 * one])}))
    assert torch.equal(levels[0], levels[1]) and scales[1] == 128 * scales[0]
