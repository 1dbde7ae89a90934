"""Graphs through torch's compiler: equal to 1e-6, and no failure of it ends a run."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from fedmtl.algorithms import FedPer
from fedmtl.core.context import Context
from fedmtl.data.base import Federation
from fedmtl.engines import VMap
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.trace import batched_function, compilers
from fedmtl.engines.trace.batched_function import BatchedFunction
from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.inductor import to_fx
from fedmtl.engines.trace.tracer import trace
from tests.conftest import tiny_plan
from tests.engines.jobs import alone, assert_close, run, training
from tests.engines.trace.test_batched_function import batch, numbers


@pytest.fixture(autouse=True)
def no_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile nothing to C++, which comes first otherwise."""
    monkeypatch.setattr(batched_function, "NATIVE_SHARE", float("inf"))


def double(down: Any, private: Tensor, batches: Any, ctx: Context) -> Tensor:
    return private * 2


def called(function: BatchedFunction, times: int) -> list[Tensor]:
    return [function(Inputs({}, True, numbers(3, 2, seed=seed), batch())) for seed in range(times)]


def test_torchs_graph_gives_the_same_bits() -> None:
    """Several results, views, constants, a list of tensors and a change in place; on other numbers, bit-identical."""

    def mixed(t: Any) -> Any:
        top, where = t[0].max(dim=1)
        y = torch.cat([t[0], torch.arange(6.0).view(2, 3)]).transpose(0, 1) + 1
        y.mul_(2)
        return [top, where, y[1:], t[0].transpose(0, 1)]

    _, graph = trace(mixed, [numbers(2, 3)])
    assert isinstance(graph, Graph)
    other = numbers(2, 3, seed=5)
    for one, expected in zip(to_fx(graph)(other), mixed([other]), strict=True):
        assert torch.equal(one, expected)


@pytest.mark.slow
def test_native_code_agrees(monkeypatch: pytest.MonkeyPatch, alike: Federation) -> None:
    """Training by FedPer, compiled as soon as it is verified; then neither graph nor function is needed.

    Of one batch a client, whose graph has each operation that graphs of more batches have.
    """
    monkeypatch.setattr("fedmtl.engines.vmap.COMPILE_AFTER_S", 0.0)
    plan = tiny_plan(alike, FedPer(epochs=1), batch_size=None)
    engine, jobs = VMap(compile=True), training(plan, alike)
    expected = alone(jobs)
    for _ in range(5):
        assert_close(run(engine, jobs), expected)
    (function,) = engine._functions.values()
    (state,) = function._states.values()
    assert state.replay is not None and state.replay.__module__ == "fedmtl.engines.trace.inductor"


def test_a_short_run_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither compiler runs without ``compile_after``, or before replays have taken so long."""
    calls: list[Any] = []
    monkeypatch.setattr(batched_function, "NATIVE_SHARE", 0.04)
    monkeypatch.setattr(compilers, "compile_torch", lambda *given: calls.append(given))
    monkeypatch.setattr(BatchedFunction, "_compile_cpp", lambda *given: calls.append(given))
    for function in (BatchedFunction(double), BatchedFunction(double, compile_after=100.0)):
        called(function, 6)
    assert calls == []
    called(BatchedFunction(double, compile_after=0.0), 6)
    assert calls


@pytest.mark.parametrize("trouble", [RuntimeError("no compiler here\nlong story"), ValueError("differs")])
def test_without_a_compiler_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    """One warning of one line; results stay those of the graph."""

    def fails(*_: Any) -> Any:
        raise trouble

    monkeypatch.setattr(compilers, "compile_torch", fails)
    with caplog.at_level(logging.WARNING):
        for seed, result in enumerate(called(BatchedFunction(double, compile_after=0.0), 7)):
            assert torch.equal(result, numbers(3, 2, seed=seed) * 2)
    (warning,) = caplog.messages
    assert "goes on without torch's compiler: " in warning and "\n" not in warning


def test_other_numbers_are_refused(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A compiler that adds 0.001 is not used."""
    wrong = "fedmtl.engines.trace.inductor.compile_with_torch"
    monkeypatch.setattr(wrong, lambda graph: lambda tensors: [tensors[0] * 2 + 0.001])
    for seed, result in enumerate(called(BatchedFunction(double, compile_after=0.0), 6)):
        assert torch.equal(result, numbers(3, 2, seed=seed) * 2)
    assert "differ by up to 1.0e-03" in caplog.text
