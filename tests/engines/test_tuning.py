"""The size of chunks: measured once, then the same for all processes."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._C._functorch import is_batchedtensor  # pyright: ignore[reportMissingModuleSource]

from fedmtl.core.context import Context
from fedmtl.core.types import Batch, Payload
from fedmtl.engines import VMap, tuning
from fedmtl.engines.trace.batched_function import BatchedFunction
from tests.engines.jobs import Job, alone, assert_close, cohort_of, run


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FEDMTL_CACHE", str(tmp_path))
    return tmp_path / "tuning"


def scale(factor: float, down: Payload, private: torch.Tensor, batches: Sequence[Batch], ctx: Context) -> torch.Tensor:
    return factor * private + sum(batch["mask"].sum() for batch in batches)


def many(n: int, function: Any = None, d: int = 3) -> list[Job]:
    work = function or partial(scale, 2.0)
    batches = [{"mask": torch.ones(2)}]
    return [Job(c, work, {}, torch.full((d,), float(c)), batches * (1 + c % 3)) for c in range(n)]


def never() -> int:
    raise AssertionError("measured again")


def test_a_measurement_is_cached(cache: Path) -> None:
    assert tuning.cached({"function": "f", "shapes": [1, 2]}, lambda: 8) == 8
    assert tuning.cached({"function": "f", "shapes": [1, 2]}, never) == 8
    assert tuning.cached({"function": "g", "shapes": [1, 2]}, lambda: 0) == 0
    assert sorted(json.loads(path.read_text())["chunk"] for path in cache.iterdir()) == [0, 8]


def test_the_first_measurement_decides_for_all(cache: Path) -> None:
    """Two workers measure at once; the slower one takes the other's number, and nothing else lies in the folder."""
    kind = {"function": "f"}
    assert tuning.cached(kind, lambda: tuning.cached(kind, lambda: 16) * 2) == 16
    assert tuning.cached(kind, never) == 16
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"chunk": "x"}', '{"chunk": -1}', "{}"])
def test_a_damaged_file_is_not_used(cache: Path, text: str) -> None:
    """It stays as it is, and the process uses its own measurement."""
    tuning.cached({"function": "f"}, lambda: 8)
    next(cache.iterdir()).write_text(text)
    assert tuning.cached({"function": "f"}, lambda: 4) == 4


def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("FEDMTL_CACHE", str(file))
    assert tuning.cached({"function": "f"}, lambda: 8) == 8


def test_candidates_follow_the_size_of_a_client() -> None:
    """Around a mebibyte, from 4 up: 4 KiB a client, 64 to 256; half a MiB, 4 to 16; 16 KiB, 1 MiB is 64 of them."""
    assert tuning.candidates(2**12) == (64, 128, 256)
    assert tuning.candidates(2**14) == (64, 128, 256)
    assert tuning.candidates(2**15) == (32, 64, 128)
    assert tuning.candidates(2**19) == (4, 8, 16)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({64: 64.0, 128: 200.0, 256: 500.0}, 64),
        ({64: 64.0, 128: 100.0, 256: 256.0}, 128),
        ({64: 64.0, 128: 130.0, 256: 300.0}, 128),  # 1.016 a client: almost as good, and half as many calls
        ({64: 640.0, 128: 1280.0, 256: 2560.0}, 0),  # ten times as long as alone
    ],
)
def test_the_least_time_a_client_wins(monkeypatch: pytest.MonkeyPatch, times: dict[int, float], expected: int) -> None:
    """Seconds are made up by number of clients: alone 1, except that a stack must be slower by a third to lose."""
    cohort, sizes = cohort_of(many(300)), iter([*times.values(), 1.0])
    monkeypatch.setattr(tuning, "seconds_of", lambda call, budget, device: next(sizes))
    assert tuning.chunk_for(cohort, BatchedFunction(cohort.function), "cpu") == expected
    monkeypatch.setattr(tuning, "seconds_of", never)
    assert tuning.chunk_for(cohort, BatchedFunction(cohort.function), "cpu") == expected
    other = cohort_of(many(300, partial(scale, 0.5)))  # another learning rate, as it were, is the same kind of work
    assert tuning.chunk_for(other, BatchedFunction(other.function), "cpu") == expected


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({15: 15.0, 62: 62.0, 250: 125.0, 1000: 400.0}, 1000),  # launches are what a call costs
        ({15: 30.0, 62: 124.0, 250: 600.0, 1000: 3000.0}, 0),  # grouped convolutions: twice as long as alone at best
        ({15: 5.0, 62: 10.0, 250: 60.0, 1000: 300.0}, 62),
    ],
)
def test_a_gpu_is_measured_too(monkeypatch: pytest.MonkeyPatch, times: dict[int, float], expected: int) -> None:
    """ "cpu:0" stands for a GPU whose memory holds 1,000 clients; seconds are made up, alone 1."""
    monkeypatch.setattr(tuning, "most_in_memory", lambda bytes_of_one, device: 1000)
    cohort, sizes, devices = cohort_of(many(300)), iter([*times.values(), 1.0]), set()

    def made_up(call: Any, budget: float, device: str) -> float:
        call()
        devices.add(device)
        return next(sizes)

    monkeypatch.setattr(tuning, "seconds_of", made_up)
    assert tuning.chunk_for(cohort, BatchedFunction(cohort.function), "cpu:0") == expected
    assert devices == {"cpu:0"}


@pytest.mark.parametrize(("most", "expected"), [(1000, (15, 62, 250, 1000)), (4, (4,)), (1, (1,)), (5, (5,))])
def test_candidates_of_a_gpu_follow_its_memory(most: int, expected: tuple[int, ...]) -> None:
    """1000, 250, 62 (62.5), 15 (15.6); 3 is too few to try."""
    assert tuning.gpu_candidates(most) == expected


def test_memory_that_runs_out_ends_the_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest size does not fit after all: the best of those before it is taken."""
    monkeypatch.setattr(tuning, "most_in_memory", lambda bytes_of_one, device: 40)
    cohort, found = cohort_of(many(100)), iter([2.0, None, 1.0])

    def full(call: Any, budget: float, device: str) -> float:
        seconds = next(found)
        if seconds is None:
            raise torch.OutOfMemoryError("full")
        return seconds

    monkeypatch.setattr(tuning, "seconds_of", full)
    assert tuning.chunk_for(cohort, BatchedFunction(cohort.function), "cpu:0") == 10


def test_a_few_clients_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is their number used for later cohorts."""
    monkeypatch.setattr(tuning, "seconds_of", never)
    cohort = cohort_of(many(64))
    batched = BatchedFunction(cohort.function)
    assert tuning.chunk_for(cohort, batched, "cpu") == 64
    assert batched.chunk is None


def test_a_tuned_engine_gives_each_client_its_own_result(cache: Path) -> None:
    jobs = many(150)
    engine = VMap()
    for _ in range(4):
        assert_close(run(engine, jobs), alone(jobs))
    assert len(list(cache.iterdir())) == 1


def test_names_are_the_same_in_every_process() -> None:
    assert tuning.name_of(partial(scale, 2.0)) == f"{__name__}.scale"
    assert tuning.name_of(VMap().map) == "fedmtl.engines.vmap.fedmtl.engines.vmap.VMap.map"
    assert "0x" not in tuning.name_of(lambda: None)


def test_a_large_client_beside_small_ones_is_run_as_the_loop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of 60 steps beside three of one: stacked, all four would take 60, and vmap doubles each."""
    rows = []

    def counted(down: Payload, private: torch.Tensor, batches: Sequence[Batch], ctx: Context) -> torch.Tensor:
        x = batches[0]["x"]
        rows.append((len(batches), is_batchedtensor(x)))
        for batch in batches:
            private = torch.sin(private * batch["x"].mean() + batch["mask"].sum() / 3)
        return private

    draw = torch.Generator().manual_seed(0)
    jobs = [
        Job(
            c,
            counted,
            {},
            torch.randn(3, generator=draw),
            [{"x": torch.randn(2, generator=draw), "mask": torch.ones(2)} for _ in range(n)],
        )
        for c, n in enumerate((1, 60, 1, 1))
    ]
    expected, engine = alone(jobs), VMap()
    rows.clear()
    found = run(engine, jobs)
    for _ in range(2):
        assert_close(found, expected)
        found = run(engine, jobs)
    assert_close(found, expected)
    assert torch.equal(found[1], expected[1])  # bit-identical
    assert (60, False) in rows and (60, True) not in rows
    assert {steps for steps, batched in rows if batched} == {1}
