"""Calls played back from a recording: the bits of ``torch.vmap``, and a plain call wherever that cannot be promised."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fedmtl.algorithms import Algorithm
from fedmtl.algorithms.common.local_training import sgd
from fedmtl.core.trees import sha256, tree_leaves
from fedmtl.core.types import Batch, Params, Payload
from fedmtl.data.base import Federation
from fedmtl.engines.batching.gather import Inputs, gather
from fedmtl.engines.trace.batched_function import Lifted, same_bits
from fedmtl.engines.trace.codegen import compile_program
from fedmtl.engines.trace.graph import Recording
from fedmtl.engines.trace.tracer import KEPT_BYTES, SHARED, record
from fedmtl.models import CNN, MLP, Model
from fedmtl.models.split import build, initial_params, loss_fn
from fedmtl.tasks import MultiClass
from tests.conftest import tiny_plan
from tests.engines.jobs import cohorts_of, measurement, training


def recorded(function: Callable[[Sequence[Tensor]], Sequence[Tensor]], *inputs: Tensor) -> Recording:
    _, recording = record(function, inputs)
    assert isinstance(recording, Recording), recording
    return recording


def names(recording: Recording) -> list[str]:
    return [operation.function.overloadpacket.__name__ for operation in recording.operations]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Whole calls.


def calls(plan: Any, federation: Federation) -> list[tuple[Any, Inputs, Inputs]]:
    """Each function, with the inputs of its clients now and in another round."""
    found = []
    for first, second in (
        (training(plan, federation), training(plan, federation, round=2)),
        (measurement(plan, federation), measurement(plan, federation)),
    ):
        for now, later in zip(cohorts_of(first)[0], cohorts_of(second)[0], strict=True):
            rows = now.steps.argsort()
            found.append((now.function, *[gather(c, rows, c.downs[0], "cpu") for c in (now, later)]))
    return found


def test_played_back_bits_are_those_of_the_call(algorithm: Algorithm[Any, Any], federation: Federation) -> None:
    """Of every algorithm's training and measurement: the recording of one round, played on the numbers of another."""
    for function, now, later in calls(tiny_plan(federation, algorithm), federation):
        plain, lifted = Lifted(function), Lifted(function)
        expected = [sha256(plain(inputs)) for inputs in (now, later)]
        assert [sha256(lifted(inputs)) for inputs in (now, now, now, later)] == [*expected[:1] * 3, expected[1]]
        (state,) = lifted._states.values()
        assert state.believed and state.program is not None
        assert [sha256(lifted(inputs)) for inputs in (later, now)] == expected[::-1]


@pytest.mark.parametrize("model", [MLP((8, 6)), CNN((2, 3), 5)], ids=repr)
def test_models_of_dense_and_convolutional_layers(model: Model) -> None:
    """On images 1×8×8, with a client and a row whose labels are missing, and padding."""
    tasks = {"t": MultiClass(3)}
    module = build(model, (1, 8, 8), tasks, 0, False)
    loss, params = loss_fn(module, tasks, ("t",)), initial_params(module)

    def update(down: Payload, private: Any, batches: Sequence[Batch]) -> Params:
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

    lifted, plain = Lifted(update), Lifted(update)
    for seed in (1, 2, 3, 4):
        fresh = Lifted(update)
        assert sha256(lifted(inputs(seed))) == sha256(fresh(inputs(seed)))
    assert all(torch.isfinite(leaf).all() for leaf in tree_leaves(plain(inputs(1))))
    assert [state.believed for state in lifted._states.values()] == [True]


def test_python_runs_twice_to_be_written_down_and_once_to_be_believed_then_never() -> None:
    runs = []

    def double(down: Payload, private: Tensor, batches: Sequence[Batch]) -> Tensor:
        runs.append(len(batches))
        return private * 2

    lifted = Lifted(double)
    for seed in range(6):
        private = numbers(3, 2, seed=seed)
        assert torch.equal(lifted(Inputs({}, True, private, [{"mask": torch.ones(3, 1)}])), private * 2)
    assert runs == [1, 1, 1]
    lifted(Inputs({}, True, numbers(4, 2), [{"mask": torch.ones(4, 1)}]))
    assert len(runs) == 4  # another shape is another call


def batch(k: int = 3) -> list[Batch]:
    return [{"mask": torch.ones(k, 1)}]


def grows(down: Payload, private: Tensor, batches: Sequence[Batch]) -> Tensor:
    """Not pure: it counts its calls."""
    grows.calls += 1  # type: ignore[attr-defined]
    return private + grows.calls  # type: ignore[attr-defined]


def by_item(down: Payload, private: Tensor, batches: Sequence[Batch]) -> Tensor:
    return private * (2 if down["model"]["a"].item() > 0 else 3)


def by_numpy(down: Payload, private: Tensor, batches: Sequence[Batch]) -> Tensor:
    return private * float(down["model"]["a"].numpy())


def by_list(down: Payload, private: Tensor, batches: Sequence[Batch]) -> Tensor:
    return private * float(str(down["model"]["a"].tolist()))


@pytest.mark.parametrize("function", [grows, by_item, by_numpy, by_list], ids=lambda f: f.__name__)
def test_what_cannot_be_played_back_is_called(function: Any) -> None:
    """Six calls with other numbers each time give what the function gives; a broadcast's number is told to Python."""
    grows.calls = 0  # type: ignore[attr-defined]
    lifted, reference = Lifted(function), 0
    for seed in range(6):
        private, a = numbers(3, 2, seed=seed), torch.tensor(seed - 2.5)
        found = lifted(Inputs({"model": {"a": a}}, True, private, batch()))
        reference += 1
        expected = {
            "grows": private + reference,
            "by_item": private * (2 if a > 0 else 3),
            "by_numpy": private * a,
            "by_list": private * a,
        }[function.__name__]
        torch.testing.assert_close(found, expected)
    (state,) = lifted._states.values()
    assert state.reason and state.program is None


def test_an_object_given_twice_may_be_two_objects_later() -> None:
    """Both steps' masks are one tensor when the call is written down, and two when it is played: 1·1 + 10·2 = 21."""
    lifted = Lifted(lambda down, private, batches: batches[0]["mask"] + 10 * batches[1]["mask"])
    one, two = torch.ones(3, 1), torch.full((3, 1), 2.0)
    for _ in range(4):
        assert (lifted(Inputs({}, True, {}, [{"mask": one}, {"mask": one}])) == 11).all()
    assert (lifted(Inputs({}, True, {}, [{"mask": one}, {"mask": two}])) == 21).all()


# What is thinned, and what must not be.


def test_what_is_done_twice_is_done_once() -> None:
    """Two equal products; 2 and 2.0 are not the same factor for whole numbers, whose products have other dtypes."""
    recording = recorded(lambda t: [t[0] * t[1] + t[0] * t[1]], numbers(3), numbers(3, seed=1))
    assert names(recording) == ["mul", "add"]
    whole = torch.arange(3)
    recording = recorded(lambda t: [t[0] * 2, t[0] * 2.0], whole)
    assert names(recording) == ["mul", "mul"]
    two, floats = compile_program(recording)([whole])
    assert two.dtype == torch.int64 and floats.dtype == torch.float32


def test_what_nobody_needs_is_not_done() -> None:
    def wasteful(t: Sequence[Tensor]) -> Sequence[Tensor]:
        _ = t[0].exp().sum()
        return [t[0] + 1]

    assert names(recorded(wasteful, numbers(3))) == ["add"]


def test_factors_of_one_copies_and_idle_views_are_left_out() -> None:
    def idle(t: Sequence[Tensor]) -> Sequence[Tensor]:
        x = (t[0] + 1) * 1
        x = (x.clone().view(2, 3).expand(2, 3) / 1).transpose(0, 1).transpose(0, 1)
        return [torch.ones(()) * x * torch.ones(2, 3)]

    recording = recorded(idle, numbers(2, 3))
    assert names(recording) == ["add"]
    assert torch.equal(compile_program(recording)([numbers(2, 3)])[0], numbers(2, 3) + 1)


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
def test_what_changes_numbers_shapes_or_kinds_stays(function: Callable[[Tensor], Tensor]) -> None:
    """Each is played on other numbers than it was recorded with, and the strides are right too."""
    recording = recorded(lambda t: [function(t[0])], numbers(2, 3))
    other = numbers(2, 3, seed=5)
    (found,), expected = compile_program(recording)([other]), function(other)
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
def test_what_is_changed_in_place(function: Callable[[Tensor], Tensor]) -> None:
    """Played on other numbers, twice: right, or, written down thin, not at all."""
    for thin in (True, False):
        _, recording = record(lambda t: [function(t[0])], [numbers(2, 3)], thin)
        if isinstance(recording, str):
            assert thin and recording == SHARED
            continue
        program = compile_program(recording)
        for seed in (5, 6, 5):
            other = numbers(2, 3, seed=seed)
            assert torch.equal(program([other])[0], function(other))


def test_inputs_and_captured_tensors_are_never_changed_when_played() -> None:
    held = torch.zeros(3)
    for function in (lambda t: [t[0].add_(1)], lambda t: [held.add_(t[0])]):
        assert isinstance(record(function, [numbers(3)])[1], str)


def test_large_constants_are_not_kept() -> None:
    large = KEPT_BYTES // 4 + 1
    assert not any(
        t.numel() == large for t in recorded(lambda t: [torch.zeros(large) + t[0]], numbers(1)).constants.values()
    )
    assert len(recorded(lambda t: [torch.zeros(9) + t[0]], numbers(1)).constants) == 1


def test_captured_tensors_are_read_when_played() -> None:
    """What the function holds, such as a module's buffer, is the tensor itself and not a copy of its numbers."""
    held = torch.ones(3)
    recording = recorded(lambda t: [t[0] * held], numbers(3))
    held += 1
    assert torch.equal(compile_program(recording)([numbers(3)])[0], numbers(3) * 2)
    assert not [name for name in vars(held) if "slot" in name]


def test_bits_are_told_apart() -> None:
    nan = torch.tensor([float("nan"), 1.0])
    assert same_bits(nan, nan.clone())
    assert not same_bits(nan, torch.tensor([1.0, 1.0]))
    assert not same_bits(torch.zeros(2), torch.zeros(3)) and not same_bits(torch.zeros(2), torch.zeros(2).long())


def test_names_are_let_go_after_their_last_use() -> None:
    """Ten products in a row of 1 MB each: at no time do more than three of them live."""
    recording = recorded(lambda t: [chain(t[0])], torch.ones(2**18))
    alive: list[Any] = []
    most = 0

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal most
            result = func(*args, **(kwargs or {}))
            alive.append(weakref.ref(result))
            most = max(most, sum(ref() is not None for ref in alive))
            return result

    program, ones = compile_program(recording), torch.ones(2**18)
    with Counting():
        program([ones])
    assert len(alive) == 10 and most <= 3


def chain(x: Tensor) -> Tensor:
    for factor in range(2, 12):
        x = x * factor
    return x
