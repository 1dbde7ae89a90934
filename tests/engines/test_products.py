"""Products of small matrices by numpy are those of torch."""

import pytest
import torch

from fedmtl.engines.kernels import batched_layers
from fedmtl.engines.kernels.products import SMALL, batched_product


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + shape[-1]))


LAYOUTS = {
    "contiguous": lambda rows, columns: numbers(5, rows, columns),
    "transposed": lambda rows, columns: numbers(5, columns, rows).transpose(1, 2),
    "sliced": lambda rows, columns: numbers(5, rows, columns + 3)[:, :, 1:-2],
    "spread": lambda rows, columns: numbers(5, rows, 2 * columns)[:, :, ::2],
    "shared": lambda rows, columns: numbers(1, rows, columns).expand(5, rows, columns),
}


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("shape", [(16, 64, 32), (1, 7, 1), (3, 1, 4), (1, 1, 1), (70, 70, 70)], ids=str)
def test_in_every_layout(left: str, right: str, shape: tuple[int, int, int]) -> None:
    """Against the sum written out, in float64; the last shape is beyond ``SMALL``."""
    rows, inner, columns = shape
    a, b = LAYOUTS[left](rows, inner), LAYOUTS[right](inner, columns)
    expected = (a.double()[:, :, :, None] * b.double()[:, None]).sum(2)
    product = batched_product(a, b)
    assert product.is_contiguous() and product.dtype == torch.float32
    torch.testing.assert_close(product.double(), expected, rtol=1e-5, atol=1e-5)
    assert (rows * inner * columns > SMALL) == (shape == (70, 70, 70))


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (4, 2, 0)])
def test_empty_products(shape: tuple[int, int, int]) -> None:
    count, rows, inner = shape
    product = batched_product(torch.zeros(count, rows, inner), torch.zeros(count, inner, 2))
    assert torch.equal(product, torch.zeros(count, rows, 2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_other_types_are_torchs_own(dtype: torch.dtype) -> None:
    a, b = (8 * numbers(3, 4, 5)).to(dtype), (8 * numbers(3, 5, 2)).to(dtype)
    assert torch.equal(batched_product(a, b), torch.bmm(a, b))


def test_it_replaces_torchs_product_inside_batched_layers_only() -> None:
    a, b = numbers(9, 16, 64), numbers(9, 64, 32)
    before = torch.bmm(a, b)
    with batched_layers():
        assert torch.equal(torch.bmm(a, b), batched_product(a, b))
    assert torch.equal(torch.bmm(a, b), before)


def test_gradients_go_through() -> None:
    """d Σ (a b) / da = 1 bᵀ."""
    a, b = numbers(9, 4, 6).requires_grad_(), numbers(9, 6, 3)
    with batched_layers():
        (slope,) = torch.autograd.grad(torch.bmm(a, b).sum(), [a])
    torch.testing.assert_close(slope, b.sum(2)[:, None].expand(9, 4, 6))
