"""Actors that die, resources that are not there, and workers that serve one run after another."""

import os
import signal
from pathlib import Path

import pytest

from fedmtl.experiment import Experiment
from fedmtl.loading import load_experiment
from fedmtl.recorder import Recorder
from fedmtl.results import Progress, Result
from fedmtl.running import run
from fedmtl.runtime.ray_grid import RayGrid
from fedmtl.runtime.server_app import serve

TINY = Path(__file__).with_name("tiny.toml")


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
def test_a_dead_actor_is_started_anew_and_the_bits_stay(
    in_folder: bool, by_socket: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(TINY, ["runtime=ray", "workers=2", "up_codec=ErrorFeedback"])
    undisturbed = run(experiment)
    if not by_socket:  # as on a cluster
        monkeypatch.setattr(
            RayGrid, "_by_socket", property(lambda grid: False, lambda grid, value: None), raising=False
        )
    result = run_and_kill(experiment, {1, 3, 4}, tmp_path / "out" if in_folder else None)
    assert result.summary["digests"] == undisturbed.summary["digests"]


def test_workers_serve_the_next_run_and_forget_the_last() -> None:
    """The same actor processes, another experiment, and then the first again: no state is left over."""
    first, other = (load_experiment(TINY, ["runtime=ray", "workers=2", f"seed={seed}"]) for seed in (0, 1))
    digests = [run(experiment).summary["digests"] for experiment in (first, other, first)]
    assert digests[0] == digests[2] != digests[1]


def test_more_gpus_than_there_are() -> None:
    with pytest.raises(RuntimeError, match=r"need 1998 GPUs.*lower either"):
        run(load_experiment(TINY, ["runtime=ray", "workers=2", "gpus_per_worker=999"]))


def test_more_workers_than_clients_is_as_many_as_clients() -> None:
    result = run(load_experiment(TINY, ["runtime=ray", "workers=20"]))
    assert result.summary["digests"] == run(load_experiment(TINY)).summary["digests"]
