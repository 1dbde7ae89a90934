"""fedmtl compare --tune, from its command to its report: it finds what was planted, is killed and goes on, side by side
as one by one, and no test label has a part in the choice."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from fedmtl.studies import Pool
from fedmtl.studies.tuning import Trial, Tuning, tune
from fedmtl.studies.tuning.alike import Method, tune_alike
from fedmtl.studies.tuning.side_by_side import studies_of, tune_side_by_side
from tests import pool_forks
from tests.forks import start
from tests.pictures import undrawn
from tests.studies.tuning import planted
from tests.studies.tuning.planted import SPACE, experiment, surface
from tests.test_cli import call

pytest.importorskip("optuna")

PRESET = """
name = "planted"
rounds = 6
runtime = "InProcess"
data = "planted:Means"
model = "Linear"
batch_size = 0
valid_fraction = 0.2

[tune]
algorithm.lr = { low = 0.01, high = 1.0, log = true }
algorithm.lam = { low = 0.01, high = 100.0, log = true }

[compare]
algorithms = ["MRMTL(lr=0.02, lam=0.02, epochs=1)", "Local(lr=0.02, epochs=1)"]
seeds = 1
"""
"""The experiment of ``planted``, and its clients alone."""

TRIALS = "12"
"""Of each method: eight that fill the space, and four that Optuna proposes."""

METHODS = ("planted-MRMTL-Dense", "planted-Local")


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preset")
    (folder / "planted.toml").write_text(PRESET)
    shutil.copy(planted.__file__, folder / "planted.py")
    return folder / "planted.toml"


def compare(preset: Path, out: Path, *arguments: str) -> Path:
    with undrawn():
        found = call("compare", str(preset), "--tune", TRIALS, "--out", str(out), *arguments)
    assert found.exit_code == 0, found.output
    return out


@pytest.fixture(scope="module")
def whole(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison that ran to its end at once, one trial and one run at a time."""
    return compare(preset, tmp_path_factory.mktemp("compare") / "whole")


def chosen(out: Path, method: str) -> dict[str, float]:
    return json.loads((out / "tuning" / method / "tuning.json").read_text())["best"]["values"]


def of_the_run(out: Path, method: str) -> dict[str, object]:
    """What the run of seed 0 has in common with all others of its experiment."""
    summary = json.loads((out / "runs" / method / "seed0" / "summary.json").read_text())
    return {key: summary[key] for key in ("digests", "mean_score", "bytes", "stopped")}


def test_a_planted_learning_rate_and_strength_are_found(whole: Path) -> None:
    """Within .005 of the highest score on a grid of 100 × 100, by the problem written out in numpy, of whose points 3
    in 100 are as good; the clients alone are tuned by as many trials, and the reported run has what was chosen."""
    lr, lam = (np.geomspace(values.low, values.high, 100) for values in SPACE.values())
    grid = surface(lr, lam)
    values = chosen(whole, METHODS[0])
    found = surface(np.array([values["algorithm.lr"]]), np.array([values["algorithm.lam"]]))[0, 0]
    assert found > np.nanmax(grid) - 0.005
    best = lam[np.unravel_index(np.nanargmax(grid), grid.shape)[1]]
    assert values["algorithm.lam"] / (2 + values["algorithm.lam"]) == pytest.approx(best / (2 + best), abs=0.15)
    for method in METHODS:
        assert len((whole / "tuning" / method / "trials.csv").read_text().splitlines()) == 1 + int(TRIALS)
        text = (whole / "runs" / method / "seed0" / "experiment.toml").read_text()
        assert all(f"{path.rpartition('.')[2]} = {value}" in text for path, value in chosen(whole, method).items())


def test_test_labels_change_no_choice(preset: Path, whole: Path, tmp_path: Path) -> None:
    """Permuted over all clients: the same trials to the last digit, and another score of the reported run."""
    method = METHODS[0]
    only = ("--algorithm", "MRMTL(lr=0.02, lam=0.02, epochs=1)", "--set", "data.test_labels=7")
    other = compare(preset, tmp_path / "other", *only)
    trials = [(out / "tuning" / method / "trials.csv").read_bytes() for out in (whole, other)]
    assert trials[0] == trials[1]
    row = [line for line in (whole / "tuning.md").read_text().splitlines() if line.startswith(f"| {method}")]
    assert row and row[0] in (other / "tuning.md").read_text()
    assert of_the_run(other, method)["mean_score"] != of_the_run(whole, method)["mean_score"]


def test_killed_in_its_trials_and_in_its_runs_it_ends_with_the_same_result(
    preset: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First among the trials of the first method, then, both methods side by side, in the first run; then to its end.

    Table, choices, trials and digests are those of the undisturbed one, of which one process did all. The processes of
    the killed command are forks, which are ended here as the kernel ends others (``tests/studies/test_pool.py``).
    """
    monkeypatch.setenv(pool_forks.STARTED, str(started := tmp_path / "started"))
    started.touch()
    out = tmp_path / "killed"
    command = ["compare", str(preset), "--tune", TRIALS, "--out", str(out)]
    moments = ("tuning/planted-MRMTL-Dense/trials/004", "runs/planted-MRMTL-Dense/seed0")
    for moment, jobs in zip(moments, ("1", "2"), strict=True):
        with open(tmp_path / f"log{jobs}", "wb") as log:
            process = start(code=pool_forks.program([*command, "--jobs", jobs]), stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not (out / moment / "checkpoint" / "server.state").exists():
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / f"log{jobs}").read_text()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        pool_forks.end_all(started)
    assert len(started.read_text().split()) >= 2
    assert (out / "tuning.md").exists() and not (out / "report.md").exists()
    compare(preset, out)
    same = ["tuning.md", "table.csv", "table.md", "gains.csv", "measures.csv", "tradeoff.csv", "clients.csv"]
    same += [f"tuning/{method}/{name}" for method in METHODS for name in ("trials.csv", "tuned.toml", "tuning.json")]
    for name in same:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    for method in METHODS:
        assert of_the_run(out, method) == of_the_run(whole, method)
    assert not list(out.rglob("fedmtl.lock"))


def test_a_tuning_whose_process_is_killed_goes_on_here(tmp_path: Path) -> None:
    """Of two side by side one is killed at its third trial: both end with the trials of tunings one by one."""
    settings = Tuning(trials=4, sampler="random")
    methods = [Method(name, (0,), experiment(rounds=2, batch_size=size), SPACE) for name, size in (("a", 0), ("b", 4))]
    seen: list[tuple[str, int]] = []

    def kill(name: str, trial: Trial) -> None:
        seen.append((name, trial.number))
        if (name, trial.number) == ("b", 2):
            lock = json.loads((tmp_path / "pool" / "b" / "fedmtl.lock").read_text())
            os.kill(lock["pid"], signal.SIGKILL)

    with Pool(2) as pool:
        failures = tune_side_by_side(studies_of(methods, tmp_path / "pool", settings), pool, kill)
    assert failures[0] is None
    assert failures[1] is not None and failures[1].reason == "its process was ended by SIGKILL"
    assert [number for name, number in seen if name == "a"] == [0, 1, 2, 3]
    _, found = tune_alike(methods, tmp_path / "pool", settings)
    for method in methods:
        alone = tune(method.experiment, tmp_path / method.name, SPACE, settings)
        assert found[method.name].best == alone.best
        for name in ("trials.csv", "tuned.toml", "tuning.json"):
            assert (tmp_path / "pool" / method.name / name).read_bytes() == (tmp_path / method.name / name).read_bytes()


def test_what_ends_a_tuning_in_a_process_ends_the_comparison(preset: Path, tmp_path: Path) -> None:
    """Rates that no model survives: the error is that of a tuning in the command's own process."""
    path = preset.with_name("hot.toml")
    path.write_text(PRESET.replace("{ low = 0.01, high = 1.0, log = true }", "[1e30, 1e31]"))
    found = call("compare", str(path), "--tune", "2", "--jobs", "2", "--out", str(tmp_path / "hot"))
    assert found.exit_code == 2
    assert "error: None of 2 trials has a score: all diverged" in " ".join(found.output.split())
