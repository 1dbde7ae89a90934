"""Results of a layer for a cohort under ``batched_layers`` equal those of plain torch for each client alone.

The expectation is always a Python loop over clients of the plain function, outside; float64 unless a kernel that only
float32 has is at stake, so that the tolerance is rounding and nothing else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from fedmtl.algorithms.common.local_training import sgd
from fedmtl.core.types import Batch, Params
from fedmtl.engines.kernels import batched_layers

K = 3


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def loop(function: Callable[..., Any], in_dims: tuple[int | None, ...], args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Call the function for each client alone, and stack the results."""
    results = [
        function(*(arg if dim is None else arg.select(dim, k) for arg, dim in zip(args, in_dims, strict=True)))
        for k in range(K)
    ]
    return tuple(torch.stack(column) for column in zip(*results, strict=True))


def weighted(y: Tensor) -> Tensor:
    """Return a scalar with a different weight for every number of y."""
    return (y * torch.arange(1, y.numel() + 1, dtype=y.dtype).reshape(y.shape).cos()).sum()


@contextmanager
def no_fallback() -> Iterator[None]:
    """Make an operator without a rule an error, where torch would warn and run the clients one by one."""
    allow: Callable[[bool], None] = import_module("torch._C._functorch")._set_vmap_fallback_enabled
    allow(False)
    try:
        yield
    finally:
        allow(True)


def recurrence(name: str, layers: int, both: bool, batch_first: bool = False) -> Callable[..., Tensor]:
    """torch.lstm or torch.gru from positional weights: per layer and direction W_ih, W_hh, b_ih, b_hh."""

    def run(x: Tensor, h: Tensor, *weights: Tensor) -> Tensor:
        state: Any = [h, h.sin()] if name == "lstm" else h
        settings = (True, layers, 0.0, True, both, batch_first)
        return torch.cat([part.flatten() for part in getattr(torch, name)(x, state, list(weights), *settings)])

    return run


def weights_of(gates: int, inputs: int, hidden: int, layers: int, both: bool) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    for layer in range(layers):
        reads = inputs if layer == 0 else hidden * (1 + both)
        shapes += [(gates * hidden, reads), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,)] * (1 + both)
    return shapes


Layer = tuple[Callable[..., Tensor], list[tuple[int, ...]]]

LAYERS: dict[str, Layer] = {
    "conv2d": (F.conv2d, [(2, 3, 6, 5), (4, 3, 3, 3), (4,)]),
    "conv2d of one channel": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(2, 1, 6, 5), (4, 1, 3, 3), (4,)]),
    "conv2d to one channel": (F.conv2d, [(2, 2, 6, 5), (1, 2, 3, 3), (1,)]),
    "conv2d of one pixel": (F.conv2d, [(2, 2, 1, 1), (3, 2, 1, 1), (3,)]),
    "conv2d without bias": (lambda x, w: F.conv2d(x, w, stride=2), [(2, 3, 6, 5), (4, 3, 3, 3)]),
    "conv2d, strides": (
        lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        [(2, 4, 7, 8), (6, 2, 3, 3), (6,)],
    ),
    "conv2d, depthwise": (lambda x, w, b: F.conv2d(x, w, b, groups=4), [(2, 4, 6, 6), (4, 1, 3, 3), (4,)]),
    "conv2d, one image": (F.conv2d, [(3, 6, 5), (4, 3, 3, 3), (4,)]),
    "conv2d, same": (lambda x, w, b: F.conv2d(x, w, b, padding="same"), [(2, 3, 6, 5), (4, 3, 3, 3), (4,)]),
    "conv1d": (
        lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=2, dilation=2, groups=2),
        [(2, 4, 9), (6, 2, 3), (6,)],
    ),
    "conv3d": (F.conv3d, [(2, 2, 4, 5, 4), (3, 2, 2, 2, 2), (3,)]),
    "conv transposed": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, output_padding=1, groups=2),
        [(2, 4, 3, 4), (4, 3, 2, 2), (6,)],
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), [(2, 3, 6, 5)]),
    "max_pool2d of one channel": (lambda x: F.max_pool2d(x, 2), [(2, 1, 6, 6)]),
    "max_pool2d, all settings": (
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0), (1, 2), ceil_mode=True),
        [(2, 3, 8, 7)],
    ),
    "max_pool2d, one image": (lambda x: F.max_pool2d(x, 2), [(3, 6, 6)]),
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1), [(2, 3, 9)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), [(2, 3, 6, 5)]),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 2), [(2, 3, 8)]),
    "adaptive_avg_pool2d to 1": (lambda x: F.adaptive_avg_pool2d(x, 1), [(2, 3, 6, 5)]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), [(2, 3, 6, 5)]),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 1), [(2, 3, 6)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 6, 4, 3), (6,), (6,)]),
    "group_norm, bare": (lambda x: F.group_norm(x, 3, eps=0.1), [(2, 6, 4, 3)]),
    "group_norm of features": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 6), (6,), (6,)]),
    "group_norm of signals": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 6, 5), (6,), (6,)]),
    "linear": (F.linear, [(4, 3), (5, 3), (5,)]),
    "linear of positions": (F.linear, [(4, 2, 3), (5, 3), (5,)]),
    "addmm": (lambda b, x, w: torch.addmm(b, x, w, beta=2, alpha=3), [(4, 5), (4, 3), (3, 5)]),
    "addmm of a number": (torch.addmm, [(), (4, 3), (3, 5)]),
    "log_softmax of few": (lambda x: torch.log_softmax(x, -1), [(4, 5)]),
    "log_softmax of many": (lambda x: torch.log_softmax(x, -1), [(4, 20)]),
    "log_softmax over rows": (lambda x: torch.log_softmax(x, 0), [(4, 5)]),
    "log_softmax of a vector": (lambda x: torch.log_softmax(x, 0), [(5,)]),
    "log_softmax of positions": (lambda x: torch.log_softmax(x, -1), [(2, 3, 4)]),
    "cross_entropy": (lambda x: F.cross_entropy(x, torch.tensor([0, 2, 1])), [(3, 4)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b), [(2, 3, 5), (5,), (5,)]),
    "embedding": (lambda w: F.embedding(torch.tensor([[0, 2, 2], [1, 0, 3]]), w), [(4, 3)]),
    "attention": (F.scaled_dot_product_attention, [(2, 3, 4, 5)] * 3),
    "attention, causal": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3),
        [(2, 3, 4, 5)] * 3,
    ),
    "attention, masked": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(4, 6).tril().bool()),
        [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5)],
    ),
    "attention without heads": (F.scaled_dot_product_attention, [(2, 4, 5), (2, 6, 5), (2, 6, 5)]),
    "lstm": (recurrence("lstm", 1, False), [(4, 2, 3), (1, 2, 5), *weights_of(4, 3, 5, 1, False)]),
    "lstm of one step": (recurrence("lstm", 1, False), [(1, 2, 3), (1, 2, 5), *weights_of(4, 3, 5, 1, False)]),
    "lstm, two layers both ways": (
        recurrence("lstm", 2, True, batch_first=True),
        [(2, 4, 3), (4, 2, 5), *weights_of(4, 3, 5, 2, True)],
    ),
    "gru": (recurrence("gru", 1, False), [(4, 2, 3), (1, 2, 5), *weights_of(3, 3, 5, 1, False)]),
    "gru of one step": (recurrence("gru", 1, False), [(1, 2, 3), (1, 2, 5), *weights_of(3, 3, 5, 1, False)]),
    "gru, two layers both ways": (
        recurrence("gru", 2, True, batch_first=True),
        [(2, 4, 3), (4, 2, 5), *weights_of(3, 3, 5, 2, True)],
    ),
}


def dims_of(count: int, differing: str) -> tuple[int | None, ...]:
    """Return 0 for arguments that differ between clients, None for shared ones; the input is the first."""
    return {
        "all": (0,) * count,
        "input": (0,) + (None,) * (count - 1),
        "weights": (None,) + (0,) * (count - 1),
        "last": (None,) * (count - 1) + (0,),
    }[differing]


def arguments(shapes: list[tuple[int, ...]], dims: tuple[int | None, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(
        numbers(*(() if dim is None else (K,)), *shape, seed=at, dtype=dtype)
        for at, (shape, dim) in enumerate(zip(shapes, dims, strict=True))
    )


@pytest.mark.parametrize("differing", ["all", "input", "weights", "last"])
@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients(name: str, differing: str) -> None:
    layer, shapes = LAYERS[name]
    dims = dims_of(len(shapes), differing)
    if dims == (None,):
        pytest.skip("a layer of one argument, and no client has its own")
    everything = tuple(range(len(shapes)))

    def both(*args: Tensor) -> tuple[Tensor, ...]:
        return layer(*args), *grad(lambda *args: weighted(layer(*args)), everything)(*args)

    args = arguments(shapes, dims, torch.float64)
    expected = loop(both, dims, args)
    with batched_layers(), no_fallback():
        got = vmap(both, in_dims=dims)(*args)
        values = vmap(layer, in_dims=dims)(*args)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(values, expected[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in LAYERS if "conv" in name or "pool" in name or "attention" in name])
def test_float32_has_kernels_of_its_own(name: str) -> None:
    """oneDNN and vectorised ones; 1e-4 is what float32 sums of some hundred terms of size 1 keep."""
    layer, shapes = LAYERS[name]
    dims = dims_of(len(shapes), "all")
    gradient = grad(lambda *args: weighted(layer(*args)), tuple(range(len(shapes))))
    args = arguments(shapes, dims, torch.float32)
    with batched_layers(), no_fallback():
        got = vmap(gradient)(*args)
    torch.testing.assert_close(got, loop(gradient, dims, args), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["conv2d, strides", "conv1d", "max_pool2d", "avg_pool2d", "group_norm", "linear", "log_softmax of few"]
    + ["attention", "attention, causal", "lstm, two layers both ways", "gru, two layers both ways"],
)
def test_second_derivatives(name: str) -> None:
    """Gradient of a scalar of the gradient, as in meta-learning."""
    layer, shapes = LAYERS[name]
    dims, everything = dims_of(len(shapes), "all"), tuple(range(len(shapes)))

    def slope(*args: Tensor) -> Tensor:
        parts = grad(lambda *args: weighted(layer(*args).sin()), everything)(*args)
        return torch.stack([weighted(part.cos()) for part in parts]).sum()

    args = arguments(shapes, dims, torch.float64)
    with batched_layers(), no_fallback():
        got = vmap(grad(slope, everything))(*args)
    with sdpa_kernel(SDPBackend.MATH):  # torch's other kernels have no second derivative
        expected = loop(grad(slope, everything), dims, args)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "group_norm", "attention", "lstm", "gru"])
def test_clients_may_be_any_dimension(name: str) -> None:
    layer, shapes = LAYERS[name]
    args = arguments(shapes, dims_of(len(shapes), "all"), torch.float64)
    dims = tuple(len(shape) for shape in shapes)
    moved = tuple(arg.movedim(0, -1) for arg in args)
    with batched_layers():
        got = vmap(layer, in_dims=dims)(*moved)
    torch.testing.assert_close((got,), loop(lambda *a: (layer(*a),), dims, moved), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "group_norm", "linear", "attention", "lstm", "gru"])
def test_transforms_nest(name: str) -> None:
    """vmap in vmap, and the gradient of a stack."""
    layer, shapes = LAYERS[name]
    args = arguments(shapes, dims_of(len(shapes), "all"), torch.float64)
    twice = tuple(torch.stack([arg, arg.flip(0)]) for arg in args)
    (expected,) = loop(lambda *a: (layer(*a),), dims_of(len(shapes), "all"), args)
    with batched_layers():
        got = vmap(vmap(layer))(*twice)
        outer = grad(lambda x: weighted(vmap(layer)(x, *args[1:])))(args[0])
    torch.testing.assert_close(got, torch.stack([expected, expected.flip(0)]), rtol=1e-9, atol=1e-9)
    plain = grad(lambda x: weighted(torch.stack([layer(x[k], *(arg[k] for arg in args[1:])) for k in range(K)])))
    torch.testing.assert_close(outer, plain(args[0]), rtol=1e-9, atol=1e-9)


def cnn(norm: bool) -> nn.Module:
    blocks: list[nn.Module] = []
    for inputs, outputs in ((1, 8), (8, 8)):
        blocks += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(2, outputs) if norm else nn.Identity()]
        blocks += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(8 * 2 * 2, 6), nn.ReLU(), nn.Linear(6, 3))


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(2, outputs) for _ in range(3)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(y + self.norms[2](self.shortcut(x)))


def resnet18() -> nn.Module:
    """Its plan of blocks, for 3×8×8 and a width of 4."""
    blocks: list[nn.Module] = [nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.GroupNorm(2, 4), nn.ReLU()]
    width = 4
    for level in range(4):
        for position in range(2):
            blocks.append(Block(width, 4 * 2**level, 2 if level and not position else 1))
            width = 4 * 2**level
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


class Text(nn.Module):
    """Tokens to classes by a transformer encoder and a mean over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(x)).mean(1))


class Recurrent(nn.Module):
    """Tokens to classes by the last state of an LSTM or a GRU."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.cells = kind(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.embedding(x))[0][:, -1])


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...] | None]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3)), (7,)),
    "cnn": (lambda: cnn(False), (1, 8, 8)),
    "cnn with group norm": (lambda: cnn(True), (1, 8, 8)),
    "transformer": (Text, None),
    "lstm": (lambda: Recurrent(nn.LSTM), None),
    "gru": (lambda: Recurrent(nn.GRU), None),
    "resnet18": (resnet18, (3, 8, 8)),
}


"""Name -> model, and the shape of an example; None: seven tokens."""


def training(name: str, seed: int = 0) -> tuple[Callable[[Params, list[Batch]], Any], Params, list[Batch]]:
    """Local training of a model, its first parameters (shared), and K clients' three batches of 4, some padded."""
    make, shape = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = make()
    params = {key: value.detach().clone() for key, value in model.named_parameters()}
    draw = torch.Generator().manual_seed(seed)
    mask = torch.ones(3, K, 4)
    mask[1:, 1, 2:] = 0  # client 1's later batches are half full, client 2's last one is empty
    mask[2, 2] = 0
    batches: list[Batch] = [
        {
            "x": torch.randn(K, 4, *shape, generator=draw) if shape else torch.randint(11, (K, 4, 7), generator=draw),
            "y": torch.randint(3, (K, 4), generator=draw),
            "mask": mask[step],
        }
        for step in range(3)
    ]

    def loss(params: Params, batch: Batch) -> Tensor:
        entropy = F.cross_entropy(functional_call(model, dict(params), (batch["x"],)), batch["y"], reduction="none")
        return (entropy * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1)

    return lambda params, batches: sgd(loss, params, batches, 0.1), params, batches


def of_client(batches: list[Batch], k: int) -> list[Batch]:
    return [{key: value[k] for key, value in batch.items()} for batch in batches]


@pytest.mark.parametrize("name", MODELS)
def test_models_train_as_in_the_loop(name: str) -> None:
    """Three rounds, each from the mean of the last; no operator falls back to clients one by one."""
    train, params, batches = training(name)
    alone, batched = dict(params), dict(params)
    for _ in range(3):
        results = [train(alone, of_client(batches, k)) for k in range(K)]
        alone = {key: torch.stack([result[key] for result in results]).mean(0) for key in params}
        with batched_layers(), no_fallback():
            stacked = vmap(train, in_dims=(None, 0))(batched, batches)
        batched = {key: value.mean(0) for key, value in stacked.items()}
    for key in params:
        torch.testing.assert_close(batched[key], alone[key], rtol=0, atol=1e-4)
        assert (alone[key] - params[key]).abs().max() > 1e-3  # it has trained


@pytest.mark.parametrize("name", ["transformer", "gru"])
def test_some_models_need_the_rules(name: str) -> None:
    """Else "no operator falls back" above would hold without them."""
    train, params, batches = training(name)
    with no_fallback(), pytest.raises(RuntimeError):
        vmap(train, in_dims=(None, 0))(params, batches)


@pytest.mark.parametrize("evaluated", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_models_give_the_same_values(name: str, evaluated: bool) -> None:
    """Without a gradient torch uses other kernels, such as fused encoders in evaluation mode."""
    model = MODELS[name][0]().train(not evaluated)
    params = {key: torch.stack([v.detach() * (1 + k / 9) for k in range(K)]) for key, v in model.named_parameters()}
    x = training(name)[2][0]["x"]

    def outputs(params: Params, x: Tensor) -> Tensor:
        return functional_call(model, dict(params), (x,))

    with torch.no_grad():
        expected = torch.stack([outputs({key: v[k] for key, v in params.items()}, x[k]) for k in range(K)])
        with batched_layers(), no_fallback():
            got = vmap(outputs)(params, x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


class _Calls(TorchDispatchMode):
    """Every operation on plain tensors, with the size of its result."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.seen.append((func, result.numel() if isinstance(result, Tensor) else 0))
        return result


@pytest.mark.parametrize("name", [name for name in MODELS if name != "resnet18"])  # no new operators, and 20 s
def test_traces_are_pure_and_hold_for_other_data(name: str) -> None:
    """A trace of a step that is half full or empty for some may be run again on other numbers, and writes into no
    tensor; of the dense model of two, where the second could write into what the first has made, whatever the layers.
    """
    steps = 2 if name == "mlp" else 1
    train, params, batches = training(name)
    batched = vmap(train, in_dims=(None, 0))
    with batched_layers():
        graph = make_fx(batched)(params, batches[-steps:])
        _, other_params, other = training(name, seed=1)
        other = other[-steps:]
        expected = batched(other_params, other)
    with _Calls() as calls:
        got = graph(other_params, other)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert not {str(func) for func, _ in calls.seen if func._schema.is_mutable}


def test_images_are_copied_once() -> None:
    """From the input on, convolutions, ReLU, group norm and pooling keep one layout: channels-last, K·C channels.

    An image between layers has at least 4·4·8 numbers a client and example; weights and the input have fewer.
    """
    model = nn.Sequential(
        *(nn.Conv2d(2, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)),
    )
    params = {key: torch.stack([value.detach()] * K) for key, value in model.named_parameters()}
    x = numbers(K, 16, 2, 8, 8, dtype=torch.float32)
    image = K * 16 * 16 * 4 * 4

    def function(params: Params, x: Tensor) -> Any:
        return grad(lambda p: functional_call(model, p, (x,)).square().sum())(dict(params))

    copies = {torch.ops.aten.clone.default, torch.ops.aten.copy_.default, torch.ops.aten.contiguous.default}
    with batched_layers(), _Calls() as calls:
        vmap(function)(params, x)
    assert x.numel() < image
    assert [(func, size) for func, size in calls.seen if func in copies and size >= image] == []
    with _Calls() as plain:
        vmap(function)(params, x)
    assert [size for func, size in plain.seen if func in copies and size >= image]


def test_changes_are_undone_on_exit() -> None:
    def strides() -> tuple[int, ...]:
        return vmap(F.conv2d)(numbers(K, 2, 3, 6, 6), numbers(K, 4, 3, 3, 3)).stride()

    before, fast_path = strides(), torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(KeyError), batched_layers():
        assert strides() != before
        with batched_layers():
            assert strides() != before
        assert strides() != before
        raise KeyError
    assert strides() == before
    assert torch.backends.mha.get_fastpath_enabled() == fast_path


def test_without_a_transform_nothing_changes() -> None:
    x, w = numbers(2, 3, 6, 6), numbers(4, 3, 3, 3)
    expected = F.group_norm(F.conv2d(x, w), 2)
    with batched_layers():
        got = F.group_norm(F.conv2d(x, w), 2)
    assert torch.equal(got, expected) and got.stride() == expected.stride()


@pytest.mark.parametrize(
    "cells",
    [nn.LSTM(3, 4, 2, proj_size=2), nn.RNN(3, 4), nn.RNN(3, 4, nonlinearity="relu"), nn.LSTM(3, 4, bias=False)]
    + [nn.GRU(3, 4, bias=False), nn.LSTMCell(3, 4), nn.GRUCell(3, 4), nn.RNNCell(3, 4)],
    ids=str,
)
def test_other_recurrent_cells(cells: nn.Module) -> None:
    """With and without a gradient."""
    cells = cells.double()
    params = {key: torch.stack([value.detach()] * K) for key, value in cells.named_parameters()}
    x = numbers(K, 2, 3) if isinstance(cells, nn.RNNCellBase) else numbers(K, 5, 2, 3)

    def value(params: Params, x: Tensor) -> Tensor:
        result = functional_call(cells, dict(params), (x,))
        return weighted(result[0] if isinstance(result, tuple) else result)

    with batched_layers():
        got = vmap(value)(params, x)
        slopes = vmap(grad(value))(params, x)
    own = [{key: value[k] for key, value in params.items()} for k in range(K)]
    torch.testing.assert_close(got, torch.stack([value(own[k], x[k]) for k in range(K)]))
    alone = [grad(value)(own[k], x[k]) for k in range(K)]
    for key in params:
        torch.testing.assert_close(slopes[key], torch.stack([part[key] for part in alone]))
