"""The state machine of batched functions: every transition of the table happens, and no other is possible."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from fedmtl.core.context import Context
from fedmtl.core.types import Batch, Payload
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.trace import batched_function, compilers
from fedmtl.engines.trace.batched_function import BatchedFunction
from fedmtl.engines.trace.codegen import Unsupported
from fedmtl.engines.trace.stages import REPLAYING, TRANSITIONS, Stage, StageEvent, advance

Path = list[tuple[StageEvent, Stage]]


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The events of this test, each with the stage after it."""
    found: Path = []

    def watch(stage: Stage, event: StageEvent) -> Stage:
        found.append((event, advance(stage, event)))
        return found[-1][1]

    monkeypatch.setattr(batched_function, "advance", watch)
    return found


def double(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
    return private * 2


def aliased(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
    """Two equal tensors, of which one is changed in place."""
    first, second = private + 1, private + 1
    return first + second.add_(1)


def reads_numbers(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
    return private * float(down["model"]["a"].item())


def impure(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
    impure.calls += 1  # type: ignore[attr-defined]
    return private + impure.calls  # type: ignore[attr-defined]


def call(function: BatchedFunction, times: int, clients: int = 3) -> None:
    for seed in range(times):
        private = torch.randn(clients, 2, generator=torch.Generator().manual_seed(seed))
        down = {"model": {"a": torch.tensor(1.5)}}
        function(Inputs(down, True, private, [{"mask": torch.ones(clients, 1)}]))


def compiled(factor: float) -> Callable[..., Any]:
    return lambda *_: lambda inputs, buffers=(): [inputs[1] * factor]


def fails(*_: Any) -> Any:
    raise RuntimeError("no compiler")


def unsupported(*_: Any) -> Any:
    raise Unsupported("no C++ for it")


WAITED, TRACED = (StageEvent.WAITED, Stage.PLAIN), (StageEvent.TRACED, Stage.TRACED)
EQUAL = (StageEvent.EQUAL, Stage.VERIFIED)
NOT_NATIVE = (StageEvent.NOT_NATIVE, Stage.VERIFIED)


def test_a_pure_function_is_traced_verified_and_replayed(seen: Path) -> None:
    """Two plain calls, one that is traced, one that is compared, then replays, on which nothing changes."""
    call(BatchedFunction(double), 7)
    assert seen == [WAITED, WAITED, TRACED, EQUAL, (StageEvent.SETTLED, Stage.REPLAYED)]


def test_another_signature_of_a_verified_function_is_trusted(seen: Path) -> None:
    function = BatchedFunction(double)
    call(function, 5)
    seen.clear()
    call(function, 3, clients=5)
    assert seen == [(StageEvent.TRUSTED, Stage.VERIFIED), (StageEvent.SETTLED, Stage.REPLAYED)]


def test_a_function_with_changes_in_place_is_traced_a_second_time(seen: Path) -> None:
    call(BatchedFunction(aliased), 6)
    assert seen == [
        WAITED,
        WAITED,
        (StageEvent.ALIASED, Stage.PLAIN),
        TRACED,
        EQUAL,
        (StageEvent.SETTLED, Stage.REPLAYED),
    ]


def test_a_function_that_reads_numbers_is_given_up(seen: Path) -> None:
    call(BatchedFunction(reads_numbers), 5)
    given_up = [
        (StageEvent.UNTRACEABLE, Stage.GIVEN_UP),
        (StageEvent.WAITED, Stage.GIVEN_UP),
        (StageEvent.WAITED, Stage.GIVEN_UP),
    ]
    assert seen == [WAITED, WAITED, *given_up]


def test_an_impure_function_is_given_up(seen: Path) -> None:
    impure.calls = 0  # type: ignore[attr-defined]
    call(BatchedFunction(impure), 5)
    assert seen == [WAITED, WAITED, TRACED, (StageEvent.UNEQUAL, Stage.GIVEN_UP), (StageEvent.WAITED, Stage.GIVEN_UP)]


def test_code_of_torchs_compiler(seen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C++ is tried first, once for the function; then torch's compiler, once for each signature."""
    monkeypatch.setattr(compilers, "compile_cpp", unsupported)
    monkeypatch.setattr(compilers, "compile_torch", compiled(2.0))
    call(BatchedFunction(double, compile_after=0.0), 9)
    assert seen == [WAITED, WAITED, TRACED, EQUAL, NOT_NATIVE, (StageEvent.COMPILED, Stage.COMPILED)]


def test_native_code(seen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for any number of clients: the function needs no other graph."""
    monkeypatch.setattr(compilers, "compile_cpp", compiled(2.0))
    function = BatchedFunction(double, compile_after=0.0)
    call(function, 9)
    call(function, 2, clients=5)
    assert seen == [WAITED, WAITED, TRACED, EQUAL, (StageEvent.NATIVE, Stage.NATIVE)]


def test_without_compilers_it_is_replayed(seen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "compile_cpp", fails)
    monkeypatch.setattr(compilers, "compile_torch", fails)
    call(BatchedFunction(double, compile_after=0.0), 9)
    assert seen == [WAITED, WAITED, TRACED, EQUAL, NOT_NATIVE, (StageEvent.SETTLED, Stage.REPLAYED)]


def test_the_tests_above_are_of_all_transitions() -> None:
    """By hand, each (stage, event) of the table and the test that has it."""
    covered = {
        (Stage.PLAIN, StageEvent.WAITED): "pure",
        (Stage.PLAIN, StageEvent.TRACED): "pure",
        (Stage.TRACED, StageEvent.EQUAL): "pure",
        (Stage.VERIFIED, StageEvent.SETTLED): "pure",
        (Stage.PLAIN, StageEvent.TRUSTED): "another signature",
        (Stage.PLAIN, StageEvent.ALIASED): "changes in place",
        (Stage.PLAIN, StageEvent.UNTRACEABLE): "reads numbers",
        (Stage.GIVEN_UP, StageEvent.WAITED): "reads numbers",
        (Stage.TRACED, StageEvent.UNEQUAL): "impure",
        (Stage.VERIFIED, StageEvent.NOT_NATIVE): "torch's compiler",
        (Stage.VERIFIED, StageEvent.COMPILED): "torch's compiler",
        (Stage.VERIFIED, StageEvent.NATIVE): "native",
    }
    assert covered.keys() == TRANSITIONS.keys()


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("event", StageEvent)
def test_no_other_transition_is_possible(stage: Stage, event: StageEvent) -> None:
    if (stage, event) in TRANSITIONS:
        assert advance(stage, event) is TRANSITIONS[stage, event]
    else:
        with pytest.raises(RuntimeError, match=f"{event.name} cannot happen .* this is a bug"):
            advance(stage, event)


def test_every_stage_is_reached_and_replays_never_end() -> None:
    """From a stage of replays there is no way to one of plain calls."""
    assert {Stage.PLAIN, *TRANSITIONS.values()} == set(Stage)
    assert all(after in REPLAYING for (before, _), after in TRANSITIONS.items() if before in REPLAYING)
