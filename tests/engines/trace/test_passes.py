"""Passes over graphs: ReLU after max-pooling instead of before it, bit-identical on fewer numbers."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, relu

from fedmtl.engines.kernels import batched_layers
from fedmtl.engines.trace.codegen import compile_graph
from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.tracer import trace

Function = Callable[[Sequence[Tensor]], Sequence[Tensor]]
CLIENTS, BATCH, CHANNELS, SIDE = 3, 2, 4, 6


def inputs(seed: int) -> list[Tensor]:
    """Images [K, B, 1, S, S] and weights [K, C, 1, 3, 3], with whole numbers, so that windows have ties and zeros."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, (CLIENTS, BATCH, 1, SIDE, SIDE), generator=generator).float()
    weight = torch.randint(-1, 2, (CLIENTS, CHANNELS, 1, 3, 3), generator=generator).float()
    return [x, weight]


def of_clients(loss: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> Function:
    """Return the gradient of a loss by the weight and its other results for each client, as the engine calls it."""

    def call(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        with batched_layers():
            gradient, rest = torch.vmap(torch.func.grad(lambda w, x: (loss(x, w)[0], loss(x, w)), has_aux=True))(
                tensors[1], tensors[0]
            )
        return [gradient, *rest]

    return call


def pooled(
    x: Tensor, weight: Tensor, kernel_size: int = 2, stride: int | None = None, padding: int = 0, dilation: int = 1
) -> tuple[Tensor, ...]:
    y = max_pool2d(relu(conv2d(x, weight, padding=1)), kernel_size, stride, padding, dilation)
    return (y**3).sum(), y


def rectified(graph: Graph) -> list[int]:
    """Return the number of elements of each ReLU and each of its gradients in a replay."""
    sizes: list[int] = []
    nodes = []
    for node in graph.nodes:
        if node.function in (torch.ops.aten.relu.default, torch.ops.aten.threshold_backward.default):

            def counted(*arguments: Tensor, function: Callable[..., Tensor] = node.function) -> Tensor:
                sizes.append(arguments[0].numel())
                return function(*arguments)

            counted.overloadpacket = node.function.overloadpacket  # type: ignore[attr-defined]
            counted.namespace = "test"  # type: ignore[attr-defined]
            node = node._replace(function=counted)
        nodes.append(node)
    compile_graph(graph._replace(nodes=nodes))(inputs(0))
    return sizes


def verified(function: Function) -> Graph:
    """Return the graph, after replays on other numbers were bit-identical to the call."""
    _, graph = trace(function, inputs(0))
    assert isinstance(graph, Graph)
    for seed in range(1, 6):
        with torch.no_grad():
            again = compile_graph(graph)(inputs(seed))
        for one, other in zip(function(inputs(seed)), again, strict=True):
            assert torch.equal(one, other)
            assert torch.signbit(one).equal(torch.signbit(other))
    return graph


@pytest.mark.parametrize("window", [{}, {"stride": 1}, {"kernel_size": 3, "padding": 1}, {"dilation": 2}], ids=repr)
def test_relu_comes_after_pooling(window: dict[str, int]) -> None:
    """Forward and backward, also where windows overlap, and where all of a window is zero or below."""
    loss = of_clients(lambda x, w: pooled(x, w, **window))
    after = pooled(torch.zeros(BATCH, 1, SIDE, SIDE), torch.zeros(CHANNELS, 1, 3, 3), **window)[1].numel()
    assert rectified(verified(loss)) == [CLIENTS * after] * 2


def test_a_call_without_gradients() -> None:
    def call(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        with batched_layers():
            return torch.vmap(lambda x, weight: pooled(x, weight))(tensors[0], tensors[1])

    assert rectified(verified(call)) == [CLIENTS * BATCH * CHANNELS * (SIDE // 2) ** 2]


@pytest.mark.parametrize("use", ["given", "added", "twice"])
def test_a_relu_with_other_uses_stays(use: str) -> None:
    """The rectified numbers are a result, are used elsewhere, or are pooled twice."""

    def loss(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        r = relu(conv2d(x, weight, padding=1))
        y = max_pool2d(r, 2)
        if use == "given":
            return (y**3).sum(), r
        if use == "added":
            return (y**3).sum() + (r**2).sum(), y
        return (y**3).sum() + (max_pool2d(r, 3) ** 2).sum(), y

    sizes = rectified(verified(of_clients(loss)))
    assert sizes == [CLIENTS * BATCH * CHANNELS * SIDE**2] * 2
