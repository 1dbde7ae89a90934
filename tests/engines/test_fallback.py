"""Functions that cannot be stacked, or are slower stacked: they run client by client, with one warning."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fedmtl.core.context import Context
from fedmtl.core.trees import sha256
from fedmtl.core.types import Batch, Payload
from fedmtl.engines import Loop, VMap, tuning
from tests.engines.jobs import Job, alone, run, tensors


def branches(down: Payload, private: torch.Tensor, batches: Sequence[Batch], ctx: Context) -> torch.Tensor:
    """Control flow depends on the client's numbers."""
    return private * 2 if private > 2 else private - 1


def unsupported(down: Payload, private: torch.Tensor, batches: Sequence[Batch], ctx: Context) -> torch.Tensor:
    """Python reads the client's number."""
    return torch.tensor(float(private.item()) ** 2)


def jobs_of(function: Any, n: int = 5) -> list[Job]:
    return [Job(c, function, {}, torch.tensor(float(c)), [{"mask": torch.ones(2)}]) for c in range(n)]


@pytest.mark.parametrize("function", [branches, unsupported], ids=lambda f: f.__name__)
def test_a_function_that_vmap_cannot_stack_runs_in_the_loop(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With the loop's bits; the warning names the function and the reason, once in an engine's life."""
    engine, jobs = VMap(chunk=2), jobs_of(function)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert sha256(run(engine, jobs)) == sha256([tensors(result) for result in alone(jobs)])
    (warning,) = caplog.messages
    assert f"{__name__}.{function.__name__} runs client by client: torch.vmap cannot stack it" in warning
    assert "\n" not in warning and len(warning) > 100


def test_others_are_still_stacked(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def fine(down: Payload, private: torch.Tensor, batches: Sequence[Batch], ctx: Context) -> torch.Tensor:
        calls.append(0)
        return private + 1

    jobs = [*jobs_of(branches), *jobs_of(fine)]
    assert [float(result) for result in run(VMap(), jobs)] == [-1, 0, 1, 6, 8, 1, 2, 3, 4, 5]
    assert len(calls) == 1 and len(caplog.messages) == 1


def test_an_error_of_one_client_that_branches_names_the_client() -> None:
    """The first client succeeds alone, so the stack fails; the loop then finds the failing client."""

    def picky(down: Payload, private: torch.Tensor, batches: Sequence[Batch], ctx: Context) -> torch.Tensor:
        if private == 3:
            raise ArithmeticError("not three")
        return private

    with pytest.raises(ArithmeticError, match="not three") as error:
        run(VMap(), jobs_of(picky))
    assert error.value.__notes__ == ["while running client 3"]


def test_a_function_that_is_slower_stacked_runs_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The times are made up: a stack of 64 takes 100 s, a client alone 1 s."""
    monkeypatch.setenv("FEDMTL_CACHE", str(tmp_path))
    times = iter([100.0, 200.0, 400.0, 1.0])
    monkeypatch.setattr(tuning, "seconds_of", lambda call, budget, device: next(times))
    engine = VMap()

    def plus_one(down: Payload, private: torch.Tensor, batches: Sequence[Batch], ctx: Context) -> torch.Tensor:
        return private + 1

    for _ in range(2):
        jobs = jobs_of(plus_one, 100)
        assert sha256(run(engine, jobs)) == sha256(run(Loop(), jobs))
    (warning,) = caplog.messages
    assert "plus_one runs client by client: that is faster here than stacking clients" in warning
