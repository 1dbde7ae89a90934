"""Actors that die, resources that are not there, and workers that serve one run after another."""

import gc
import os
import signal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.progress import Progress
from fedmtl.runs.recorder import Recorder
from fedmtl.runs.result import Result
from fedmtl.runtime import scratch
from fedmtl.runtime.flower.server_app import serve
from fedmtl.runtime.ray.grid import RayGrid
from tests.forks import run as run_process
from tests.runtime.ray_forks import stub_of_workers

TINY = Path(__file__).parents[1] / "tiny.toml"
CODED = ["runtime=Ray(workers=2)", "up_codec=ErrorFeedback"]


@cache
def undisturbed() -> dict[str, str]:
    """Digests of a run of which no actor dies."""
    return run(load_experiment(TINY, CODED)).summary["digests"]


def run_and_kill(experiment: Experiment, rounds: set[int], out: Path | None) -> Result:
    """A run whose last actor is killed after each of some rounds."""
    federation = experiment.load()
    recorder = Recorder(experiment, out)
    grid = RayGrid(experiment, federation, recorder.state_folder)

    def kill(progress: Progress) -> None:
        if progress.round in rounds:
            os.kill(grid.pids[-1], signal.SIGKILL)

    try:
        return serve(grid, experiment, federation.schema, recorder, kill)
    finally:
        grid.close()


@pytest.mark.parametrize("by_socket", [True, False], ids=["by socket", "by Ray's calls"])
@pytest.mark.parametrize("in_folder", [True, False], ids=["run folder", "temporary folder"])
def test_a_dead_actor_is_restarted_and_results_stay_bit_identical(
    in_folder: bool, by_socket: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(TINY, CODED)
    if not by_socket:  # as on a cluster
        monkeypatch.setattr(
            RayGrid, "_by_socket", property(lambda grid: False, lambda grid, value: None), raising=False
        )
    result = run_and_kill(experiment, {1, 3, 4}, tmp_path / "out" if in_folder else None)
    assert result.summary["digests"] == undisturbed()


def test_an_actor_that_dies_while_it_starts_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it has loaded its data, while it loads, and before the driver has found its socket."""
    experiment = load_experiment(TINY, ["runtime=Ray(workers=2)"])
    undisturbed = run(experiment)
    load, connect = RayGrid._load, RayGrid._open_channel
    loads, connections = iter(range(10)), iter(range(10))

    def kill_first(grid: RayGrid, part: int) -> Any:
        number = next(loads)
        if number == 0:
            ray.kill(grid._actors[part])
        loading = load(grid, part)
        if number == 2:
            ray.kill(grid._actors[part])
        return loading

    def kill_second(grid: RayGrid, part: int, pid: int, address: str) -> Any:
        if next(connections) == 1:
            ray.kill(grid._actors[part])
        return connect(grid, part, pid, address)

    monkeypatch.setattr(RayGrid, "_load", kill_first)
    monkeypatch.setattr(RayGrid, "_open_channel", kill_second)
    assert run(experiment).summary["digests"] == undisturbed.summary["digests"]


def test_an_actor_that_always_dies_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    load = RayGrid._load

    def kill(grid: RayGrid, part: int) -> Any:
        loading = load(grid, part)
        ray.kill(grid._actors[part])
        return loading

    monkeypatch.setattr(RayGrid, "_load", kill)
    with pytest.raises(RuntimeError, match="Actors died 4 times while it started, node 1 last"):
        run(load_experiment(TINY, ["runtime=Ray(workers=1)"]))


def test_a_result_without_a_folder_keeps_the_clients_models() -> None:
    """Actors write private states to a temporary folder, which lasts as long as the result: models are bit-identical to
    those of the same work in this process."""
    experiment = load_experiment(TINY, ["runtime=Ray(workers=2)"])
    here = run(experiment, in_process=True)
    run(experiment)  # Ray's own folder is there
    gc.collect()
    before = set(scratch._held)
    result = run(experiment)
    (kept,) = set(scratch._held) - before
    x = np.random.default_rng(0).standard_normal((5, 8))
    for client, owned in experiment.load().schema.owners.items():
        one, other = result.predict(client, x), here.predict(client, x)
        assert tuple(one) == owned == tuple(other)
        assert all(np.array_equal(one[task].outputs, other[task].outputs) for task in owned)
    assert kept.is_dir()
    del result
    gc.collect()
    assert not kept.exists() and set(scratch._held) == before


KILL = """
import os, signal, time
from pathlib import Path
from fedmtl.runs.presets import load_experiment
from fedmtl.run_experiment import run
from tests.runtime.ray_forks import forked_workers
def lose(name):
    from ray._private import worker
    def kill(progress):
        global begin
        if progress.round == 2:
            begin = time.monotonic()
            os.kill(worker._global_node.all_processes[name][0].process.pid, signal.SIGKILL)
        if progress.round > 2:
            time.sleep(0.1)  # few rounds until it is noticed
    try:
        run(load_experiment({tiny!r}, ["runtime=Ray(workers=1)", "rounds={rounds}"]), on_round=kill)
    except RuntimeError as error:
        print(error, flush=True)
    assert time.monotonic() - begin < 10
    print(run(load_experiment({tiny!r}, ["runtime=Ray(workers=1)"])).summary["digests"])  # the next run has a new Ray
with forked_workers(Path({stub!r})):
    lose("gcs_server")
    lose("raylet")
    from fedmtl.runtime.ray import cluster
    cluster.disconnect()
"""


@pytest.mark.slow
def test_ray_that_is_lost_is_noticed_and_replaced() -> None:
    """First its gcs_server, and then the raylet of the Ray that replaced it."""
    done = run_process(code=KILL.format(tiny=str(TINY), rounds=100_000, stub=str(stub_of_workers())), timeout=180)
    assert done.returncode == 0, done.stderr
    first, second = (done.stdout.index(f"Ray's {name} ended by signal SIGKILL") for name in ("gcs_server", "raylet"))
    digests = str(run(load_experiment(TINY)).summary["digests"])
    assert first < second and done.stdout.count("--resume") == 2 and done.stdout.count(digests) == 2
    assert first < done.stdout.index(digests) < second < done.stdout.rindex(digests)


def test_workers_serve_the_next_run_and_forget_the_last() -> None:
    """The same actor processes, another experiment, and then the first again: no state is left over."""
    first, other = (load_experiment(TINY, ["runtime=Ray(workers=2)", f"seed={seed}"]) for seed in (0, 1))
    digests = [run(experiment).summary["digests"] for experiment in (first, other, first)]
    assert digests[0] == digests[2] != digests[1]


def test_more_gpus_than_there_are() -> None:
    with pytest.raises(RuntimeError, match=r"need 1998 GPUs.*lower either"):
        run(load_experiment(TINY, ["runtime=Ray(workers=2, gpus_per_worker=999)"]))


def test_more_workers_than_clients_is_as_many_as_clients() -> None:
    two = ["data.clients=2", "cohort=1"]  # so that two actors, which may be running already, are enough
    result = run(load_experiment(TINY, ["runtime=Ray(workers=20)", *two]))
    assert result.summary["digests"] == run(load_experiment(TINY, two)).summary["digests"]
