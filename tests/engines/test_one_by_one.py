"""Layers of large clients: stacked, they have the bits of each client alone."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from fedmtl.engines.kernels import batched_layers
from fedmtl.engines.trace.tracer import trace
from tests.engines.test_kernels import LAYERS, arguments, dims_of, loop, no_fallback, numbers, weighted

ROUNDED = {"attention, masked", *(name for name in LAYERS if name.startswith(("lstm", "gru")))}
"""Layers that torch cannot stack, whose kernels of small clients stand for them."""


@pytest.mark.parametrize("differing", ["all", "input", "weights", "last"])
@pytest.mark.parametrize("name", [name for name in LAYERS if name not in ROUNDED])
def test_values_and_gradients_have_the_bits_of_each_client(name: str, differing: str) -> None:
    layer, shapes = LAYERS[name]
    dims = dims_of(len(shapes), differing)
    if dims == (None,):
        pytest.skip("a layer of one argument, and no client has its own")
    gradient = grad(lambda *args: weighted(layer(*args)), tuple(range(len(shapes))))

    def both(*args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return layer(*args), *gradient(*args)

    args = arguments(shapes, dims, torch.float32)
    expected = loop(both, dims, args)
    with batched_layers(large=True), no_fallback():
        got = vmap(both, in_dims=dims)(*args)
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


def test_products_of_batches_have_the_bits_of_each_client() -> None:
    """``bmm``, large and small, forward and backward."""
    for size in (3, 40):
        args = numbers(3, 2, size, size, dtype=torch.float32), numbers(3, 2, size, size, seed=1, dtype=torch.float32)
        both = grad(lambda a, b: weighted(torch.bmm(a, b)), (0, 1))
        expected = loop(both, (0, 0), args)
        with batched_layers(large=True), no_fallback():
            got = vmap(both)(*args)
        assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


def test_small_clients_are_stacked_as_before() -> None:
    """With and without a tracer, after large ones in the same process: their rules are gone, and torch's are back."""
    x, t = numbers(3, 4, 5, dtype=torch.float32), torch.tensor([1, 2, 0, 4])
    slope = vmap(grad(lambda x: F.cross_entropy(x, t)))
    expected = slope(x)
    for _ in range(2):
        with batched_layers(large=True), no_fallback():
            slope(x)
        assert torch.equal(slope(x), expected)
        with batched_layers():
            results, graph = trace(lambda each: [slope(each[0])], [x])
        assert torch.allclose(results[0], expected, atol=1e-6) and not isinstance(graph, str), graph


def test_a_layout_is_kept() -> None:
    """Images that are channels-last for a client alone are so in a stack."""
    x, w = numbers(3, 2, 4, 6, 6, dtype=torch.float32), numbers(3, 5, 4, 3, 3, dtype=torch.float32)
    x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    with batched_layers(large=True):
        got = vmap(F.conv2d)(x, w)
    for k in range(3):
        alone = F.conv2d(x[k], w[k])
        assert got[k].stride() == alone.stride() != alone.contiguous().stride() and torch.equal(got[k], alone)
