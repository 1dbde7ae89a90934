"""Replays of graphs: bit-identical to ``torch.vmap``, and plain calls where that is not certain."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fedmtl.algorithms import Algorithm
from fedmtl.algorithms.common.local_training import sgd
from fedmtl.core.context import Context
from fedmtl.core.trees import sha256, tree_leaves
from fedmtl.core.types import Batch, Params, Payload
from fedmtl.data.base import Federation
from fedmtl.engines.batching.gather import Inputs, gather
from fedmtl.engines.trace.batched_function import BatchedFunction
from fedmtl.engines.trace.codegen import compile_graph
from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.signature import same_bits
from fedmtl.engines.trace.stages import Stage
from fedmtl.engines.trace.tracer import ALIASED, KEPT_BYTES, trace
from fedmtl.models import CNN, MLP, Model
from fedmtl.models.split import build, initial_params, loss_fn
from fedmtl.tasks import MultiClass
from tests.conftest import ALL_ALGORITHMS, tiny_plan
from tests.engines.jobs import cohorts_of, measurement, training


def traced(function: Callable[[Sequence[Tensor]], Sequence[Tensor]], *inputs: Tensor) -> Graph:
    _, graph = trace(function, inputs)
    assert isinstance(graph, Graph), graph
    return graph


def names(graph: Graph) -> list[str]:
    return [node.function.overloadpacket.__name__ for node in graph.nodes]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Whole calls.


def calls(plan: Any, federation: Federation, trained: list[int]) -> list[tuple[Any, Inputs, Inputs]]:
    """The training of these clients and the measurement of the other two or one, now and in another round."""
    found = []
    for first, second, chosen in (
        (training(plan, federation), training(plan, federation, round=2), trained),
        (measurement(plan, federation), measurement(plan, federation, round=2), [9] if trained == [0, 1] else [0, 1]),
    ):
        for now, later in zip(cohorts_of(first)[0], cohorts_of(second)[0], strict=True):
            if set(now.clients) <= set(chosen):
                rows = now.steps.argsort()
                found.append((now.function, *[gather(c, rows, c.downs[0], "cpu") for c in (now, later)]))
    assert len(found) >= 2
    return found


@pytest.mark.parametrize(
    ("algorithm", "trained"), [(each, ([0, 1], [9])[k % 2]) for k, each in enumerate(ALL_ALGORITHMS)], ids=repr
)
def test_replays_are_bit_identical_to_the_call(
    algorithm: Algorithm[Any, Any], trained: list[int], unlike: Federation
) -> None:
    """Training and measurement of every algorithm: the graph of one round, replayed on the numbers of another.

    In turn of two clients with one task, and of one with two other tasks, with one batch each. Stacks of four that have
    two tasks and one to three batches, some of them padded, in both functions of every algorithm, are in
    ``tests/algorithms/test_contract.py``.
    """
    for function, now, later in calls(tiny_plan(unlike, algorithm, batch_size=None), unlike, trained):
        plain, batched = BatchedFunction(function), BatchedFunction(function)
        expected = sha256(plain(later))  # the first call runs under vmap
        batched._verified = True  # by another signature, so that this one is traced at its first call
        traced = sha256(batched(now))
        assert [sha256(batched(inputs)) for inputs in (later, now, later)] == [expected, traced, expected]
        (state,) = batched._states.values()
        assert state.stage is Stage.REPLAYED


@pytest.mark.parametrize("model", [MLP((8, 6)), CNN((2, 3), 5)], ids=repr)
def test_models_of_dense_and_convolutional_layers(model: Model) -> None:
    """On images 1×8×8, with a client and a row whose labels are missing, and padding."""
    tasks = {"t": MultiClass(3)}
    module = build(model, (1, 8, 8), tasks, 0, False)
    loss, params = loss_fn(module, tasks, ("t",)), initial_params(module)

    def update(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Params:
        return sgd(loss, {**down["model"], "head.t.bias": private}, batches, 0.1, epochs=2)

    def inputs(seed: int) -> Inputs:
        batches = []
        for step in range(2):
            x, y, mask = (
                numbers(5, 4, 1, 8, 8, seed=seed + step),
                numbers(5, 4, seed=seed).abs().floor(),
                torch.ones(5, 4),
            )
            y[1], y[2, 3], mask[3, 2:] = torch.nan, torch.nan, 0
            batches.append({"x": x, "y.t": y.clamp(max=2), "mask": mask})
        return Inputs({"model": params}, True, numbers(5, 3, seed=seed), batches)

    batched, plain = BatchedFunction(update), BatchedFunction(update)
    for seed in (1, 2, 3, 4):
        fresh = BatchedFunction(update)
        assert sha256(batched(inputs(seed))) == sha256(fresh(inputs(seed)))
    assert all(torch.isfinite(leaf).all() for leaf in tree_leaves(plain(inputs(1))))
    assert [state.stage for state in batched._states.values()] == [Stage.REPLAYED]


def test_python_runs_twice_before_tracing_once_for_it_and_once_to_verify_then_never() -> None:
    runs = []

    def double(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
        runs.append(len(batches))
        return private * 2

    batched = BatchedFunction(double)
    for seed in range(7):
        private = numbers(3, 2, seed=seed)
        assert torch.equal(batched(Inputs({}, True, private, [{"mask": torch.ones(3, 1)}])), private * 2)
    assert runs == [1, 1, 1, 1]
    batched(Inputs({}, True, numbers(4, 2), [{"mask": torch.ones(4, 1)}]))
    assert len(runs) == 5  # another shape is another call


def batch(k: int = 3) -> list[Batch]:
    return [{"mask": torch.ones(k, 1)}]


def grows(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
    """Not pure: it counts its calls."""
    grows.calls += 1  # type: ignore[attr-defined]
    return private + grows.calls  # type: ignore[attr-defined]


def by_item(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
    return private * (2 if down["model"]["a"].item() > 0 else 3)


def by_numpy(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
    return private * float(down["model"]["a"].numpy())


def by_list(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
    return private * float(str(down["model"]["a"].tolist()))


@pytest.mark.parametrize("function", [grows, by_item, by_numpy, by_list], ids=lambda f: f.__name__)
def test_a_function_that_cannot_be_replayed_is_called(function: Any) -> None:
    """Six calls with different numbers give the function's results; three functions read a broadcast's number."""
    grows.calls = 0  # type: ignore[attr-defined]
    batched, reference = BatchedFunction(function), 0
    for seed in range(6):
        private, a = numbers(3, 2, seed=seed), torch.tensor(seed - 2.5)
        found = batched(Inputs({"model": {"a": a}}, True, private, batch()))
        reference += 1
        expected = {
            "grows": private + reference,
            "by_item": private * (2 if a > 0 else 3),
            "by_numpy": private * a,
            "by_list": private * a,
        }[function.__name__]
        torch.testing.assert_close(found, expected)
    (state,) = batched._states.values()
    assert state.stage is Stage.GIVEN_UP and state.replay is None


def test_an_object_given_twice_may_be_two_objects_later() -> None:
    """Both steps' masks are one tensor when the call is traced, and two when it is replayed: 1·1 + 10·2 = 21."""
    batched = BatchedFunction(lambda down, private, batches, ctx: batches[0]["mask"] + 10 * batches[1]["mask"])
    one, two = torch.ones(3, 1), torch.full((3, 1), 2.0)
    for _ in range(4):
        assert (batched(Inputs({}, True, {}, [{"mask": one}, {"mask": one}])) == 11).all()
    assert (batched(Inputs({}, True, {}, [{"mask": one}, {"mask": two}])) == 21).all()


# Simplification, and its limits.


def test_equal_operations_run_once() -> None:
    """Two equal products; 2 and 2.0 are not the same factor for whole numbers, whose products have other dtypes."""
    graph = traced(lambda t: [t[0] * t[1] + t[0] * t[1]], numbers(3), numbers(3, seed=1))
    assert names(graph) == ["mul", "add"]
    whole = torch.arange(3)
    graph = traced(lambda t: [t[0] * 2, t[0] * 2.0], whole)
    assert names(graph) == ["mul", "mul"]
    two, floats = compile_graph(graph)([whole])
    assert two.dtype == torch.int64 and floats.dtype == torch.float32


def test_unused_operations_are_left_out() -> None:
    def wasteful(t: Sequence[Tensor]) -> Sequence[Tensor]:
        _ = t[0].exp().sum()
        return [t[0] + 1]

    assert names(traced(wasteful, numbers(3))) == ["add"]


def test_factors_of_one_copies_and_idle_views_are_left_out() -> None:
    def idle(t: Sequence[Tensor]) -> Sequence[Tensor]:
        x = (t[0] + 1) * 1
        x = (x.clone().view(2, 3).expand(2, 3) / 1).transpose(0, 1).transpose(0, 1)
        return [torch.ones(()) * x * torch.ones(2, 3)]

    graph = traced(idle, numbers(2, 3))
    assert names(graph) == ["add"]
    assert torch.equal(compile_graph(graph)([numbers(2, 3)])[0], numbers(2, 3) + 1)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 1.5,
        lambda x: torch.div(x, 1, rounding_mode="floor"),
        lambda x: x * torch.tensor([1.0, 1.0, 2.0]),
        lambda x: torch.ones(2, 2, 3) * x,
        lambda x: 1 / x,
        lambda x: (x * 1).double(),
        lambda x: x.transpose(0, 1).contiguous(),
        lambda x: x.transpose(0, 1).contiguous().view(6),
        lambda x: torch.complex(x, x).conj() * 1j,
        lambda x: x.unbind(1)[1] + x.unbind(1)[2],
        lambda x: (x + 1)[1:, 1].clone() + (x + 1)[:1, 2],
        lambda x: x.new_full((2,), 3) + x.new_full((2,), 4),
        lambda x: torch.zeros_like(x) + torch.ones_like(x),
        lambda x: torch.cat([x, x[:1] * float("inf")]),
        lambda x: x.max(dim=1)[1],
        lambda x: torch.zeros(KEPT_BYTES // 4 + 1) + x.sum(),
    ],
)
def test_operations_that_change_numbers_shapes_or_types_stay(function: Callable[[Tensor], Tensor]) -> None:
    """Each is replayed on other numbers than it was traced with; strides are equal too."""
    graph = traced(lambda t: [function(t[0])], numbers(2, 3))
    other = numbers(2, 3, seed=5)
    (found,), expected = compile_graph(graph)([other]), function(other)
    assert found.stride() == expected.stride() and found.dtype == expected.dtype
    assert torch.equal(found, expected)


def filled(x: Tensor) -> Tensor:
    """Zeros that stay zeros, and equal ones that are filled."""
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    second += x
    second[0] *= 2
    return first + second + torch.zeros_like(x)


def read_before_and_after(x: Tensor) -> Tensor:
    y = x + 1
    before = y * 2
    y.mul_(3)
    return before + y * 2


def through_a_view(x: Tensor) -> Tensor:
    y = x + 1
    y.view(6)[1:3].fill_(7)
    return y


def constant_changed(x: Tensor) -> Tensor:
    weights = torch.ones(3)
    weights[1] = 5
    return x * weights


def copy_changed(x: Tensor) -> Tensor:
    y = x + 1
    z = y.clone()
    z.add_(1)
    return y * z


def into_empty(x: Tensor) -> Tensor:
    return torch.empty(2, 3).copy_(x)


@pytest.mark.parametrize(
    "function", [filled, read_before_and_after, through_a_view, constant_changed, copy_changed, into_empty]
)
def test_changes_in_place(function: Callable[[Tensor], Tensor]) -> None:
    """Replays on other numbers are right, twice; a simplified graph may be refused."""
    for simplify in (True, False):
        _, graph = trace(lambda t: [function(t[0])], [numbers(2, 3)], simplify)
        if isinstance(graph, str):
            assert simplify and graph == ALIASED
            continue
        replay = compile_graph(graph)
        for seed in (5, 6, 5):
            other = numbers(2, 3, seed=seed)
            assert torch.equal(replay([other])[0], function(other))


def test_inputs_and_captured_tensors_are_never_changed_by_replays() -> None:
    held = torch.zeros(3)
    for function in (lambda t: [t[0].add_(1)], lambda t: [held.add_(t[0])]):
        assert isinstance(trace(function, [numbers(3)])[1], str)


def test_large_constants_are_not_kept() -> None:
    large = KEPT_BYTES // 4 + 1
    assert not any(
        t.numel() == large for t in traced(lambda t: [torch.zeros(large) + t[0]], numbers(1)).constants.values()
    )
    assert len(traced(lambda t: [torch.zeros(9) + t[0]], numbers(1)).constants) == 1


def test_captured_tensors_are_read_at_each_replay() -> None:
    """A tensor that the function holds, such as a module's buffer, is the tensor itself, not a copy."""
    held = torch.ones(3)
    graph = traced(lambda t: [t[0] * held], numbers(3))
    held += 1
    assert torch.equal(compile_graph(graph)([numbers(3)])[0], numbers(3) * 2)
    assert not [name for name in vars(held) if "fedmtl" in name]


def test_comparison_of_bits() -> None:
    nan = torch.tensor([float("nan"), 1.0])
    assert same_bits(nan, nan.clone())
    assert not same_bits(nan, torch.tensor([1.0, 1.0]))
    assert not same_bits(torch.zeros(2), torch.zeros(3)) and not same_bits(torch.zeros(2), torch.zeros(2).long())


def test_names_are_deleted_after_their_last_use() -> None:
    """Ten products in a row of 1 MB each: at most three of them exist at a time."""
    graph = traced(lambda t: [chain(t[0])], torch.ones(2**18))
    alive: list[Any] = []
    most = 0

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal most
            result = func(*args, **(kwargs or {}))
            alive.append(weakref.ref(result))
            most = max(most, sum(ref() is not None for ref in alive))
            return result

    replay, ones = compile_graph(graph), torch.ones(2**18)
    with Counting():
        replay([ones])
    assert len(alive) == 10 and most <= 3


def chain(x: Tensor) -> Tensor:
    for factor in range(2, 12):
        x = x * factor
    return x
