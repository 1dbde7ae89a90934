"""Graphs as C++: torch's numbers to rounding, and an error for graphs without C++."""

import dataclasses
import logging
import math
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import fedmtl
from fedmtl.algorithms import Algorithm, Ditto, FedPer, PFedMe
from fedmtl.client.data_shard import ShardRows
from fedmtl.core.context import Context
from fedmtl.core.trees import tree_leaves
from fedmtl.data import Synthetic
from fedmtl.data.base import Federation
from fedmtl.engines import VMap
from fedmtl.engines.base import LazyRows
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.trace import compilers, cpp
from fedmtl.engines.trace.batched_function import BatchedFunction
from fedmtl.engines.trace.codegen import Unsupported
from fedmtl.engines.trace.cpp import build, compile_natively
from fedmtl.engines.trace.cpp.client_view import client_view
from fedmtl.engines.trace.cpp.source import MAX_BYTES, to_cpp
from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.tracer import trace
from fedmtl.models import MLP
from fedmtl.runs.experiment import Experiment
from tests.conftest import tiny_plan
from tests.engines.jobs import alone, assert_close, run, training
from tests.engines.trace.test_batched_function import batch, numbers

K = 5


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build in a second instead of three."""
    monkeypatch.setattr(build, "FLAGS", [flag for flag in build.FLAGS if flag != "-O3"])


# Views of one client.


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t,
        lambda t: t[:, 1],
        lambda t: t[:, :, 2:],
        lambda t: t.transpose(1, 2),
        lambda t: t.reshape(K * 3, 4),
        lambda t: t.unsqueeze(1),
        lambda t: t[:, 2, 3],
        lambda t: t.reshape(K, 12).unsqueeze(-1),
    ],
)
def test_a_client_view_has_the_clients_numbers(view: Callable[[Tensor], Tensor]) -> None:
    """Element e of memory is e: the addresses of client 0's view, shifted by 12 a client, are the numbers."""
    seen = view(torch.arange(K * 12).reshape(K, 3, 4))
    own = client_view(seen.shape, seen.stride(), int(seen.storage_offset()), K, 12)
    first = torch.as_strided(torch.arange(12), own.sizes, own.strides, own.offset)
    all_clients = torch.stack([first + 12 * k for k in range(K)])
    assert torch.equal(all_clients.flatten(), seen.flatten())


@pytest.mark.parametrize("view", [lambda t: t.transpose(0, 1).contiguous(), lambda t: t[1:], lambda t: t[::2]])
def test_clients_that_are_not_one_after_the_other_in_memory(view: Callable[[Tensor], Tensor]) -> None:
    seen = view(torch.arange(K * 12).reshape(K, 3, 4))
    with pytest.raises(Unsupported):
        client_view(seen.shape, seen.stride(), int(seen.storage_offset()), K, 12)


# Operations.

ODD = [math.nan, math.inf, -math.inf, 0.0, -0.0, 100.0, -100.0]

OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "add": lambda x, y, v, w, i: x + y,
    "add with a factor": lambda x, y, v, w, i: torch.add(x, y, alpha=-2),
    "add rows": lambda x, y, v, w, i: x + v,
    "subtract": lambda x, y, v, w, i: torch.sub(x, v, alpha=3),
    "from a number": lambda x, y, v, w, i: 1.5 - x,
    "multiply": lambda x, y, v, w, i: x * y * 2,
    "divide": lambda x, y, v, w, i: x / y,
    "negative": lambda x, y, v, w, i: -x,
    "square": lambda x, y, v, w, i: x.square(),
    "relu": lambda x, y, v, w, i: x.relu(),
    "exp": lambda x, y, v, w, i: x.exp(),
    "log and root": lambda x, y, v, w, i: (x.square() + 1).log() + (x.square() + 1).sqrt(),
    "1 / root": lambda x, y, v, w, i: (x.square() + 1).rsqrt(),
    "abs": lambda x, y, v, w, i: x.abs(),
    "sigmoid": lambda x, y, v, w, i: x.sigmoid(),
    "tanh": lambda x, y, v, w, i: x.tanh(),
    "clamp": lambda x, y, v, w, i: x.clamp(-0.5, 0.5) + y.clamp(min=0.1),
    "largest": lambda x, y, v, w, i: torch.maximum(x, y),
    "smallest": lambda x, y, v, w, i: torch.minimum(x, y),
    "compare": lambda x, y, v, w, i: torch.stack([(x == y), x != y, x > 0, x >= v, x < y, x <= 1]).float().sum(0),
    "logic": lambda x, y, v, w, i: ((x > 0) & (y > 0) | ~(x < 1)).float() + torch.isnan(y).float(),
    "where": lambda x, y, v, w, i: torch.where(x > y, x, v),
    "where number": lambda x, y, v, w, i: torch.where(x > y, x, 7.0),
    "addcmul": lambda x, y, v, w, i: torch.addcmul(x, y, v, value=-0.5),
    "addcdiv": lambda x, y, v, w, i: torch.addcdiv(x, y, v.square() + 1, value=2),
    "sum of all": lambda x, y, v, w, i: x.sum(),
    "sum of rows": lambda x, y, v, w, i: x.sum(0),
    "sum of columns": lambda x, y, v, w, i: x.sum(-1, keepdim=True) * v,
    "mean": lambda x, y, v, w, i: x.mean(1),
    "largest of columns": lambda x, y, v, w, i: x.amax(0) + x.amax(),
    "smallest of rows": lambda x, y, v, w, i: x.amin(-1, keepdim=True) * v,
    "product with a shared matrix": lambda x, y, v, w, i: x @ w,
    "product with the client's own": lambda x, y, v, w, i: x @ y.T,
    "products": lambda x, y, v, w, i: x.reshape(2, 2, 6) @ y.reshape(2, 2, 6).mT @ x.reshape(2, 2, 6).mT.mT,
    "transposed product": lambda x, y, v, w, i: x.T @ y,
    "linear": lambda x, y, v, w, i: F.linear(x, w.T, v[:5]),
    "log softmax": lambda x, y, v, w, i: x.log_softmax(1),
    "log softmax of columns": lambda x, y, v, w, i: x.log_softmax(0),
    "softmax": lambda x, y, v, w, i: x.softmax(1),
    "gather": lambda x, y, v, w, i: x.gather(1, i[:, None]),
    "scatter": lambda x, y, v, w, i: x.scatter_add(1, i[:, None], y),
    "stack": lambda x, y, v, w, i: torch.stack([x, y], 1),
    "cat": lambda x, y, v, w, i: torch.cat([x, y[:, :2]], 1),
    "views": lambda x, y, v, w, i: x.T[1:, None].expand(5, 3, 4) + y.T[1:, None] * v.reshape(3, 2)[1, 0],
    "slope": lambda x, y, v, w, i: torch.func.grad(
        lambda u: F.cross_entropy((x @ u).relu() @ u.T, i) + (x @ u).sigmoid().sum() + (x @ u).tanh().square().sum()
    )(w),
    "slope of parts": lambda x, y, v, w, i: torch.func.grad(lambda u: (u[1] * x[0] + u[1:3] * y[1:3] + u[-1]).sum())(y),
    "constant": lambda x, y, v, w, i: x + torch.arange(6.0) + torch.ones(4, 6),
}


def given(odd: bool = False) -> tuple[Tensor, ...]:
    x, y, v = numbers(K, 4, 6, seed=1), numbers(K, 4, 6, seed=2), numbers(K, 6, seed=3)
    if odd:
        x.view(-1)[: len(ODD)] = torch.tensor(ODD)
        y.view(-1)[7 : 7 + len(ODD)] = torch.tensor(ODD)
    return x, y, v, numbers(6, 5, seed=4), torch.arange(K * 4).reshape(K, 4) * 5 % 6


STACKED = (True, True, True, False, True)


def natively(function: Callable[..., Any], inputs: Sequence[Tensor], others: Sequence[Tensor]) -> tuple[Any, Any]:
    """Return a function's results on the other inputs by vmap, and by machine code traced on the first ones."""

    def lift(tensors: Sequence[Tensor]) -> Any:
        return torch.vmap(lambda *t: function(*t), in_dims=tuple(0 if own else None for own in STACKED))(*tensors)

    _, graph = trace(lift, inputs)
    assert isinstance(graph, Graph), graph
    return lift(others), compile_natively(graph, inputs, STACKED)(others)


@pytest.mark.parametrize("odd", [False, True])
def test_operations(odd: bool) -> None:
    """Against torch on other numbers than traced, to some units in the last place; also NaN and infinities."""
    expected, found = natively(lambda *t: tuple(f(*t) for f in OPERATIONS.values()), given(), given(odd))
    for name, one, other in zip(OPERATIONS, expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=3e-6, atol=3e-6, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}")


WIDTHS = {"x86-64": "", "x86-64-v3": "avx2", "x86-64-v4": "avx512f", "native": ""}
"""Kinds of x86 processors, which have registers of 16, 32 and 64 bytes -> what this one needs to run their code."""


@pytest.mark.parametrize("march", WIDTHS)
def test_products_in_registers_of_any_width(march: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, terms and columns that fill a register or several, or leave a rest; and b transposed."""
    if march != "native" and platform.machine() != "x86_64":
        pytest.skip("of x86-64 alone")
    if WIDTHS[march] not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {WIDTHS[march]}")
    monkeypatch.setattr(build, "FLAGS", [flag.replace("native", march) for flag in build.FLAGS])
    sizes = [(rows, terms, columns) for rows in (1, 7, 16) for terms in (1, 10) for columns in (1, 8, 10, 24, 33, 64)]
    left = [numbers(K, rows, terms, seed=rows) for rows, terms, _ in sizes]
    right = [numbers(K, terms, columns, seed=columns) for _, terms, columns in sizes]

    def products(*tensors: Tensor) -> tuple[Tensor, ...]:
        pairs = list(zip(tensors[: len(sizes)], tensors[len(sizes) :], strict=True))
        return tuple(a @ b for a, b in pairs) + tuple(b.mT @ a.mT for a, b in pairs)

    _, graph = trace(lambda inputs: torch.vmap(products)(*inputs), [*left, *right])
    assert isinstance(graph, Graph), graph
    found = compile_natively(graph, [*left, *right], [True] * 2 * len(sizes))([*left, *right])
    for one, other in zip(products(*left, *right), found, strict=True):
        torch.testing.assert_close(other, one, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x, y, v, w, i: x.cumsum(0), "no C\\+\\+ for cumsum"),
        (lambda x, y, v, w, i: x.double().sum(), "float64"),
        (lambda x, y, v, w, i: torch.ones(MAX_BYTES // 4) * x.sum() + 1, "more than"),
        (lambda x, y, v, w, i: x.max(0).values, "several|no C\\+\\+"),
    ],
)
def test_operations_without_cpp_are_unsupported(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        natively(lambda *t: (function(*t),), given(), given())


def test_an_index_that_points_outside_reads_nothing_outside() -> None:
    """torch raises an error; native code reads the nearest element."""
    x, y, v, w, i = given()
    _, (found,) = natively(lambda x, y, v, w, i: (x.gather(1, i[:, None]),), (x, y, v, w, i), (x, y, v, w, i))
    assert torch.equal(found[..., 0], x.gather(2, i[..., None])[..., 0])

    def lift(t: Sequence[Tensor]) -> Any:
        return (torch.vmap(lambda x, i: x.gather(1, i[:, None]))(t[0], t[1]),)

    _, graph = trace(lift, [x, i])
    assert isinstance(graph, Graph)
    (found,) = compile_natively(graph, [x, i], [True, True])([x, i + 1_000_000])
    assert torch.equal(found[..., 0], x[:, :, 5])


def test_zeros_that_are_inputs_are_no_constants() -> None:
    """A broadcast of zeros is no constant, unlike zeros that the call itself makes."""
    x, y, v, w, i = given()
    begin = (x, y, v, torch.zeros_like(w), i)
    (expected,), (found,) = natively(lambda x, y, v, w, i: (x @ w + 1,), begin, given())
    torch.testing.assert_close(found, expected)
    assert found.std() > 0.1


@pytest.mark.parametrize("rows", [2, 2**15])
def test_zeros_that_each_call_makes(rows: int) -> None:
    """Small ones are constants of the graph, large ones are not; in native code both are one number."""
    fill = lambda x, y, v, w, i: (x + x.new_zeros(rows, 1)[:1] + x.new_full((rows, 1), 2.0)[1:2],)  # noqa: E731
    (expected,), (found,) = natively(fill, given(), given(odd=True))
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("width", [1, 40, 2**13])
def test_lazy_rows_are_read_in_place(width: int) -> None:
    """Results are those of copied rows, once or several times, for rows of any size."""
    source, w, index = numbers(9, width, seed=1), numbers(K, width, seed=2), torch.randint(9, (K, 3))
    rows = LazyRows(source, index)
    copied = rows.copy()
    assert (rows.shape, rows.stride(), rows.dtype) == (copied.shape, copied.stride(), copied.dtype)

    def lift(tensors: Sequence[Tensor]) -> Any:
        return torch.vmap(lambda w, x: (x * w,))(*tensors)

    _, graph = trace(lift, [w, copied])
    assert isinstance(graph, Graph)
    replay = compile_natively(graph, [w, copied], [True, True], batches=1)
    expected = source[index] * w[:, None]
    assert torch.equal(replay([w, rows])[0], expected)
    assert torch.equal(replay([w, copied])[0], expected)


def test_the_source_does_not_depend_on_the_number_of_clients() -> None:
    """Else it might be right for the number that it was checked with, and for no other."""

    def text(count: int) -> str:
        tensors = [numbers(count, *t.shape[1:], seed=n) for n, t in enumerate(given()[:3])] + list(given()[3:])
        tensors[-1] = torch.arange(count * 4).reshape(count, 4) * 5 % 6

        def lift(t: Sequence[Tensor]) -> Any:
            function = lambda *own: tuple(f(*own) for f in OPERATIONS.values())  # noqa: E731
            return torch.vmap(function, in_dims=tuple(0 if own else None for own in STACKED))(*t)

        _, graph = trace(lift, tensors)
        assert isinstance(graph, Graph)
        return to_cpp(graph, tensors, STACKED, count, batches=4).text

    assert text(K) == text(11)


@pytest.mark.parametrize("clients", [1, 3, 12])
def test_any_number_of_clients(clients: int) -> None:
    """Traced with K; rows of inputs and results may be apart in memory, and nothing between them is written."""

    def lift(t: Sequence[Tensor]) -> Any:
        f = lambda w, x, v: (torch.ones(3) * (x @ w).relu().log_softmax(1).sum(0), w + v.mean())  # noqa: E731
        return torch.vmap(f, in_dims=(0, 0, None))(*t)

    given = [numbers(K, 4, 3, seed=1), numbers(K, 2, 4, seed=2), numbers(7, seed=3)]
    _, graph = trace(lift, given)
    assert isinstance(graph, Graph)
    replay = compile_natively(graph, given, [True, True, False], batches=1)
    apart = numbers(clients, 50, seed=4)
    others = [apart[:, 5:17].reshape(clients, 4, 3), numbers(clients, 2, 4, seed=5), given[2]]
    assert others[0].data_ptr() != apart.data_ptr() and not others[0].is_contiguous() or clients == 1
    space = torch.full((clients, 20), 7.0)
    found = replay(others, [None, space[:, 3:15].view(clients, 4, 3)])
    for one, other in zip(found, lift(others), strict=True):
        torch.testing.assert_close(one, other, rtol=3e-6, atol=3e-6)
    assert found[1].data_ptr() == space[:, 3:].data_ptr()
    assert bool((space[:, :3] == 7).all() and (space[:, 15:] == 7).all())


# In the engine.


@pytest.mark.parametrize(
    ("algorithm", "batch_size"),
    [(FedPer(epochs=1), 4), (Ditto(epochs=1), None), (PFedMe(epochs=1), None)],
    ids=lambda a: type(a).__name__,
)
def test_training_in_cpp(
    algorithm: Algorithm[Any, Any], batch_size: int | None, monkeypatch: pytest.MonkeyPatch, alike: Federation
) -> None:
    """Native code, as soon as it is verified, gives the numbers of the loop, and no graph is kept; of three batches,
    some of them padded, and of one that several kinds of steps read."""
    monkeypatch.setattr("fedmtl.engines.vmap.COMPILE_AFTER_S", 0.0)
    plan = tiny_plan(alike, algorithm, batch_size)
    engine, jobs = VMap(compile=True), training(plan, alike)
    expected = alone(jobs)
    for _ in range(5):
        assert_close(run(engine, jobs), expected)
    (function,) = engine._functions.values()
    assert function.native
    assert [each.function.__module__ for each in function._natives.values()] == ["fedmtl.engines.trace.cpp.build"]


@pytest.mark.parametrize("tasks", [1, 3])
def test_a_run_in_cpp(tasks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final state is the loop's.

    The examples of clients with one task are read from the node's data, in another order in each round.
    """
    monkeypatch.setattr("fedmtl.engines.vmap.COMPILE_AFTER_S", 0.0)
    rounds_in_cpp, lazy_batches = [], ShardRows.lazy_batches

    def watch(rows: ShardRows, *arguments: Any) -> Any:
        rounds_in_cpp.append(arguments[-1])
        return lazy_batches(rows, *arguments)

    monkeypatch.setattr(ShardRows, "lazy_batches", watch)
    experiment = Experiment(
        data=Synthetic(
            clients=5, examples=12, features=6, rank=2, kind="multiclass", classes=3, tasks=tasks, ragged=True
        ),
        model=MLP((4,)),
        algorithm=FedPer(lr=0.1, epochs=1),
        rounds=14,
        cohort=3,
        batch_size=4,
        evaluate_every=14,
        runtime="InProcess",
    )
    made = []
    monkeypatch.setattr(cpp, "compile_natively", lambda *given: made.append(given) or compile_natively(*given))
    ends = [
        fedmtl.run(dataclasses.replace(experiment, engine=engine)).state for engine in ("Loop", "VMap(compile=True)")
    ]
    assert made and (len(rounds_in_cpp) >= 4 or tasks > 1)
    for one, other in zip(*map(tree_leaves, ends), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def double(down: Any, private: Tensor, batches: Any, ctx: Context) -> Tensor:
    return private * 2


def test_without_a_cpp_compiler_it_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One warning; then torch's compiler is used."""
    monkeypatch.setenv("CXX", "/nowhere/c++")
    monkeypatch.setattr(build, "_function", build._function.__wrapped__)
    monkeypatch.setattr(compilers, "compile_torch", lambda graph, *_: lambda inputs: [inputs[0] * 2])
    with caplog.at_level(logging.WARNING):
        function = BatchedFunction(double, compile_after=0.0)
        for seed in range(7):
            inputs = Inputs({}, True, numbers(3, 2, seed=seed), batch())
            assert torch.equal(tree_leaves(function(inputs))[0], inputs.private * 2)
    (warning,) = caplog.messages
    assert "goes on without a C++ compiler: " in warning and "\n" not in warning


def test_native_code_with_other_results_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpp, "compile_natively", lambda *_: lambda inputs: [inputs[0] * 2 + 0.001])
    monkeypatch.setattr(compilers, "compile_torch", lambda graph, *_: lambda inputs: [inputs[0] * 2])
    function = BatchedFunction(double, compile_after=0.0)
    for seed in range(6):
        inputs = Inputs({}, True, numbers(3, 2, seed=seed), batch())
        assert torch.equal(tree_leaves(function(inputs))[0], inputs.private * 2)
    assert function.native is False
