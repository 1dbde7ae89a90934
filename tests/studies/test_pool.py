"""Runs side by side: the bits of runs one by one, and processes that end, however that happens.

How much time it saves is not tested, since a machine may be busy. Measured on two cores under other load, once each:
``fedmtl compare digits --algorithm Local --algorithm FedPer --algorithm FedAvg --seeds 2 --set rounds=10`` took 49.6 s
with ``--jobs 1`` and 21.9 s with ``--jobs 2`` with ``runtime=InProcess``, and 47.3 and 27.8 s with ``runtime=Ray``.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmtl.algorithms import FedPer, Local
from fedmtl.codecs import FP16
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.run_failure import Failure, read_failure
from fedmtl.studies import Event, Pool, StudyTask, run_here, worker
from tests import pool_forks
from tests.forks import start
from tests.processes import alive
from tests.toys import experiment


def tasks(folder: Path, *changes: dict[str, Any]) -> list[StudyTask]:
    """Runs of four rounds of four clients, with the changes of each, on the engine that experiments have."""
    base = {"rounds": 4, "cohort": 4, "engine": Experiment.engine}
    return [StudyTask(experiment(**base | each), f"run{i}", folder / f"run{i}") for i, each in enumerate(changes)]


def digests(some: list[StudyTask]) -> list[Any]:
    return [json.loads((task.folder / "summary.json").read_text())["digests"] for task in some]


def test_runs_side_by_side_have_the_bits_of_runs_one_by_one(tmp_path: Path) -> None:
    """With engines, codecs, and shares of clients as two and three Ray workers have them."""
    changes: list[dict[str, Any]] = [
        {"seed": 0},
        {"seed": 1, "engine": "loop", "up_codec": FP16()},
        {"algorithm": FedPer(lr=0.05, epochs=1), "runtime": "Ray(workers=2)", "engine": "vmap"},
        {"algorithm": Local(epochs=1), "runtime": "Ray(workers=3)"},
    ]
    one_by_one, side_by_side = tasks(tmp_path / "a", *changes), tasks(tmp_path / "b", *changes)
    assert run_here(one_by_one, lambda event: None, in_process=True) == [None] * 4
    seen: list[Event] = []
    with Pool(3) as pool:
        assert pool.run(side_by_side, seen.append) == [None] * 4
    assert digests(one_by_one) == digests(side_by_side)
    for index in range(4):
        kinds = [event.kind for event in seen if event.task == index]
        assert kinds == ["began", *["round"] * 5, "ended"]
    assert [event.task for event in seen if event.kind == "began"] == [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_the_work_of_ray_s_workers_in_one_process_has_their_bits(engine: str) -> None:
    over_ray = experiment(rounds=4, cohort=4, runtime="Ray(workers=2)", engine=engine)
    assert run(over_ray).summary["digests"] == run(over_ray, in_process=True).summary["digests"]


def test_a_killed_process_is_one_run_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pool_forks.KILLED, "run1:3")
    some = tasks(tmp_path, *({"seed": seed, "rounds": 5 if seed == 1 else 4} for seed in range(5)))
    with Pool(2) as pool:
        failures = pool.run(some, lambda event: None)
    monkeypatch.delenv(pool_forks.KILLED)
    assert [failure and failure.state for failure in failures] == [None, "unfinished", None, None, None]
    assert failures[1] == Failure("unfinished", 2, "its process was ended by SIGKILL")
    assert read_failure(some[1].folder) == failures[1]
    with Pool(1) as pool:  # it goes on
        assert pool.run(some[1:2], lambda event: None) == [None]
    alone = tasks(tmp_path / "alone", {"seed": 1, "rounds": 5})
    run_here(alone, lambda event: None)
    assert digests(alone) == digests(some[1:2])


OWN = '''"""A codec that prints, and after some calls raises."""

from dataclasses import dataclass

from fedmtl.codecs import CodecTraits, Dense

calls = 0


@dataclass(frozen=True)
class Odd:
    most: int = 3
    traits = CodecTraits(unbiased=True)

    def init(self, size):
        return Dense().init(size)

    def encode(self, x, state, rng):
        global calls
        calls += 1
        print(f"call {calls}")
        if calls > self.most:
            raise KeyError("too many calls")
        return Dense().encode(x, state, rng)

    def decode(self, data, size):
        return Dense().decode(data, size)
'''


def test_what_a_run_prints_and_what_ends_it_stay_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_codec.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    import odd_codec  # pyright: ignore[reportMissingImports]

    some = tasks(tmp_path, {}, {"up_codec": odd_codec.Odd(most=9), "engine": "loop"}, {"seed": 1})
    with Pool(1) as pool:
        failures = pool.run(some, lambda event: None)
    assert failures[0] is None and failures[2] is None
    assert failures[1] == Failure("failed", 2, "KeyError: 'too many calls'")  # four clients a round: in the third
    log = (some[1].folder / "log.txt").read_text()
    assert log.count("call ") == 10 and "call 10" in log
    assert not (some[0].folder / "log.txt").exists()


def test_a_mistake_is_a_failure_and_leaves_no_folder(tmp_path: Path) -> None:
    some = tasks(tmp_path, {"cohort": 99}, {})
    with Pool(2) as pool:
        failures = pool.run(some, lambda event: None)
    assert failures[0] is not None and "cohort" in failures[0].reason and failures[1] is None
    assert not some[0].folder.exists()


def test_gpus_and_clusters_are_refused(tmp_path: Path) -> None:
    with Pool(1) as pool, pytest.raises(ValueError, match=r"run0 with gpus_per_worker = 1.0; leave out --jobs"):
        pool.run(tasks(tmp_path, {"runtime": "Ray(gpus_per_worker=1.0)"}), lambda event: None)


class Leave(BaseException):
    """Stands for Ctrl-C."""


@pytest.mark.usefixtures("true_pools")
def test_leaving_ends_all_processes_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMTL_TEST_MARK", f"pool-{os.getpid()}")
    monkeypatch.setattr("fedmtl.studies.pool.PATIENCE_S", 40.0)  # on a busy machine: one that is killed keeps its lock
    some = tasks(tmp_path, {"rounds": 5000}, {"rounds": 5000, "seed": 1})

    left: list[float] = []

    def leave(event: Event) -> None:
        if event.kind == "round":
            left.append(time.monotonic())
            raise Leave

    with pytest.raises(Leave), Pool(2) as pool:
        pool.run(some, leave)
    assert time.monotonic() - left[0] < 60
    assert [line for line in alive(f"pool-{os.getpid()}") if worker.__name__ in line] == []
    assert not any((task.folder / "fedmtl.lock").exists() for task in some), "locks are given back"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel ends them there")
def test_the_end_of_the_parent_ends_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMTL_TEST_MARK", mark := f"orphans-{os.getpid()}")

    def workers() -> list[str]:
        return [line for line in alive(mark) if worker.__name__ in line]

    child = start(code="import time; from fedmtl.studies import Pool; pool = Pool(2); time.sleep(100)")
    _until(lambda: len(workers()) >= 2)
    child.kill()
    child.wait()
    _until(lambda: not workers())


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180  # two interpreters import torch, on a machine that may be busy
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
