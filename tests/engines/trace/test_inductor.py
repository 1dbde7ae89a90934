"""Recordings through torch's compiler: the same numbers, to 1e-6, and never in the way."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from fedmtl.algorithms import FedPer
from fedmtl.data.base import Federation
from fedmtl.engines import VMap
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.trace import batched_function
from fedmtl.engines.trace.batched_function import Lifted
from fedmtl.engines.trace.graph import Recording
from fedmtl.engines.trace.inductor import to_graph
from fedmtl.engines.trace.tracer import record
from tests.conftest import tiny_plan
from tests.engines.jobs import alone, assert_close, run, training
from tests.engines.trace.test_batched_function import batch, numbers


@pytest.fixture(autouse=True)
def no_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be said in C++ does not come here, else."""
    monkeypatch.setattr(batched_function, "NATIVE_SHARE", float("inf"))


def double(down: Any, private: Tensor, batches: Any) -> Tensor:
    return private * 2


def played(function: Lifted, times: int) -> list[Tensor]:
    return [function(Inputs({}, True, numbers(3, 2, seed=seed), batch())) for seed in range(times)]


def test_the_graph_is_the_recording() -> None:
    """Several results, views, constants, a list of tensors and a change in place; on other numbers, bit for bit."""

    def mixed(t: Any) -> Any:
        top, where = t[0].max(dim=1)
        y = torch.cat([t[0], torch.arange(6.0).view(2, 3)]).transpose(0, 1) + 1
        y.mul_(2)
        return [top, where, y[1:], t[0].transpose(0, 1)]

    _, recording = record(mixed, [numbers(2, 3)])
    assert isinstance(recording, Recording)
    other = numbers(2, 3, seed=5)
    for one, expected in zip(to_graph(recording)(other), mixed([other]), strict=True):
        assert torch.equal(one, expected)


@pytest.mark.slow
def test_native_code_agrees(monkeypatch: pytest.MonkeyPatch, alike: Federation) -> None:
    """Training by FedPer, compiled as soon as it is believed; then neither recording nor function is needed."""
    monkeypatch.setattr("fedmtl.engines.vmap.COMPILE_AFTER_S", 0.0)
    plan = tiny_plan(alike, FedPer(epochs=1))
    engine, jobs = VMap(compile=True), training(plan, alike)
    for _ in range(5):
        assert_close(run(engine, jobs), alone(jobs))
    (function,) = engine._functions.values()
    (state,) = function._states.values()
    assert state.program is not None and state.program.__module__ == "fedmtl.engines.trace.inductor"


def test_a_short_run_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """By neither compiler: not where nobody asked for it, and not before it has been played for long enough."""
    calls: list[Any] = []
    monkeypatch.setattr(batched_function, "NATIVE_SHARE", 0.04)
    monkeypatch.setattr(batched_function, "_compiled", lambda *given: calls.append(given))
    monkeypatch.setattr(Lifted, "_say_in_cpp", lambda *given: calls.append(given))
    for function in (Lifted(double), Lifted(double, compile_after=100.0)):
        played(function, 6)
    assert calls == []
    played(Lifted(double, compile_after=0.0), 6)
    assert calls


@pytest.mark.parametrize("trouble", [RuntimeError("no compiler here\nlong story"), ValueError("differs")])
def test_without_a_compiler_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    """Said once, in one line; results stay those of the recording."""

    def fails(*_: Any) -> Any:
        raise trouble

    monkeypatch.setattr(batched_function, "_compiled", fails)
    with caplog.at_level(logging.WARNING):
        for seed, result in enumerate(played(Lifted(double, compile_after=0.0), 7)):
            assert torch.equal(result, numbers(3, 2, seed=seed) * 2)
    (warning,) = caplog.messages
    assert "goes on without torch's compiler: " in warning and "\n" not in warning


def test_other_numbers_are_refused(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A compiler that adds 0.001 is not used."""
    wrong = "fedmtl.engines.trace.inductor.compile_with_torch"
    monkeypatch.setattr(wrong, lambda recording: lambda tensors: [tensors[0] * 2 + 0.001])
    for seed, result in enumerate(played(Lifted(double, compile_after=0.0), 6)):
        assert torch.equal(result, numbers(3, 2, seed=seed) * 2)
    assert "differs by up to 1.0e-03" in caplog.text
