"""Comparisons in which runs fail: the others go on, and no number of those that failed is in any mean."""

import csv
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmtl.algorithms import FedAvg, Local
from fedmtl.cli import app
from fedmtl.studies import Event
from fedmtl.studies.comparison import Comparison, compare
from tests import pictures, pool_forks
from tests.forks import start
from tests.toys import experiment

PRESET = """name = "five"
rounds = 6
runtime = "InProcess"
data = { name = "synthetic", clients = 5, examples = 12, test_examples = 8, features = 4, rank = 2, tasks = 2 }
model = { name = "MLP", hidden = [3] }
evaluate_every = 3
batch_size = 4

[compare]
algorithms = [
    "Local(lr=0.05, epochs=1)", "FedAvg(lr=0.05, epochs=1)", "FedPer(lr=0.05, epochs=1)",
    "FedRep(head_epochs=1)", "FedProx(lr=1e30, epochs=1)",
]
seeds = 3
target = 0.05
"""


def table(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "table.csv") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def score(folder: Path) -> float:
    return json.loads((folder / "summary.json").read_text())["mean_score"]


def test_five_methods_three_seeds_one_diverges_and_one_run_is_killed(tmp_path: Path) -> None:
    """The means that are expected are of the other runs' summaries; the killed one goes on with the same command."""
    (tmp_path / "five.toml").write_text(PRESET)
    command = ["compare", "five.toml", "--jobs", "2", "--out", "out"]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    settings: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": path}}
    settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    killed = {**settings["env"], pool_forks.KILLED: "five-FedPer-Dense/seed1:3"}
    drawn_once = pictures.command(command, "drawn_as('png')")
    process = start(code=pool_forks.on_forks(drawn_once), **{**settings, "env": killed})
    output, errors = process.communicate(timeout=180)

    assert process.returncode == 1, errors
    lines = errors.splitlines()
    assert lines[0] == "not counted: five-FedPer-Dense/seed1, unfinished at round 2: its process was ended by SIGKILL"
    for seed in range(3):
        assert f"not counted: five-FedProx-Dense/seed{seed}, diverged at round 1: No client of round 1 " in errors
    assert lines[-1] == "go on with the same command: fedmtl compare five.toml --jobs 2 --out out" and len(lines) == 5

    text = (tmp_path / "out" / "report.md").read_text()
    assert text in output
    assert re.search(r"\| FedPer \| 2 of 3 seeds · 1 unfinished \(round 2 of 6\) \|", text)
    assert re.search(r"\| FedProx \| 0 of 3 seeds · 3 diverged at round 1 \| [^|]+ \| – \|", text)
    rows = table(tmp_path / "out")
    runs = tmp_path / "out" / "runs"
    for name in ("Local", "FedAvg", "FedPer", "FedRep"):
        counted = [seed for seed in range(3) if (name, seed) != ("FedPer", 1)]
        folders = [runs / (f"five-{name}" + "-Dense" * (name != "Local")) / f"seed{seed}" for seed in counted]
        assert float(rows[name]["score_mean"]) == pytest.approx(np.mean([score(folder) for folder in folders]))
        assert rows[name]["counted"] == str(len(counted))
    assert rows["FedProx"]["score_mean"] == rows["FedProx"]["train_bytes"] == rows["FedProx"]["bytes_to_target"] == ""
    assert "FedPer − Local: " in text and re.search(r"FedPer − Local: [^\n]* over 2 seeds", text)
    drawn = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert drawn and all((tmp_path / "out" / name).stat().st_size > 1000 and name.endswith(".png") for name in drawn)

    again = start(code=pool_forks.on_forks(pictures.command(command)), **settings)
    _, errors = again.communicate(timeout=180)
    assert again.returncode == 1 and "SIGKILL" not in errors
    assert errors.splitlines()[-1].startswith("what diverged would do so again")
    assert table(tmp_path / "out")["FedPer"]["counted"] == "3"
    with pictures.undrawn():
        report = CliRunner().invoke(app, ["report", str(tmp_path / "out" / "runs"), "--out", str(tmp_path / "later")])
    assert report.exit_code == 0, report.output
    assert table(tmp_path / "later") == {
        name: row | {"target_score": "", "target_reached_by_seeds": "", "bytes_to_target": ""}
        for name, row in table(tmp_path / "out").items()
    }


@pytest.mark.usefixtures("no_pictures")
def test_from_python_experiments_are_compared_as_they_are(tmp_path: Path) -> None:
    seen: list[Event] = []
    some = [experiment(seed=seed, algorithm=method(lr=0.05, epochs=1)) for method in (FedAvg, Local) for seed in (0, 1)]
    found = compare(some, tmp_path / "out", on_event=seen.append)
    assert isinstance(found, Comparison) and found.failures == {}
    assert [(group.name, group.seeds) for group in found.groups] == [("FedAvg", (0, 1)), ("Local", (0, 1))]
    assert [run.folder.parent.name for run in found.runs] == ["toy-FedAvg-Dense"] * 2 + ["toy-Local"] * 2
    assert sum(event.kind == "round" for event in seen) == 4 * 4
    assert (tmp_path / "out" / "report.md").is_file()


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_does_not_fit_is_a_row_and_the_others_go_on(tmp_path: Path, jobs: int) -> None:
    """A cohort of nine of six clients: nothing of it was written, and its row has no number."""
    found = compare([experiment(seed=0), experiment(seed=1, cohort=9)], tmp_path / "out", jobs=jobs)
    (name,) = found.failures
    assert found.failures[name][:2] == ("failed", 0) and "cohort" in found.failures[name].reason
    rows = table(tmp_path / "out")
    assert [(row["counted"], row["failures"]) for row in rows.values() if row["failures"]] == [
        ("0", "0 of 1 seed · 1 failed (round 0 of 3)")
    ]


@pytest.mark.usefixtures("no_pictures")
def test_a_folder_of_another_run_is_no_run_of_this_comparison(tmp_path: Path) -> None:
    """Seed 1's folder holds a run at another rate: its numbers are not those of the experiment that was asked for."""
    compare([experiment(seed=seed, algorithm=FedAvg(lr=0.01, epochs=1)) for seed in (0, 1)], tmp_path / "out")
    (tmp_path / "out" / "runs" / "toy-FedAvg-Dense" / "seed0").rename(tmp_path / "elsewhere")
    found = compare([experiment(seed=0), experiment(seed=1)], tmp_path / "out")
    assert [failure.state for failure in found.failures.values()] == ["failed"]
    (group,) = found.groups
    assert [run.seed for run in group.finished] == [0] and "lr=0.05" in group.label


def test_where_every_run_fails_at_once_the_reason_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cohort"):
        compare([experiment(cohort=9)], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="at least one experiment"):
        compare([], tmp_path / "out")
    with pytest.raises(ValueError, match="as they are, got presets or options"):
        compare([experiment()], tmp_path / "out", seeds=3)


@pytest.mark.parametrize("command", [["compare", "demo"], ["compare", "demo", "--tune", "2"], ["tune", "digits"]])
def test_a_runtime_of_elsewhere_is_refused_once_and_before_any_run(tmp_path: Path, command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--runtime", "Flower", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and result.output.count("is started by 'flwr run'") == 1
    with pytest.raises(ValueError, match="take Ray or InProcess"):
        compare([experiment(), experiment(seed=1, runtime="Flower")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_the_caller_s_own_watcher_goes_through(tmp_path: Path, jobs: int) -> None:
    def watch(event: Event) -> None:
        if event.progress is not None and event.progress.round == 2:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        compare([experiment(seed=0), experiment(seed=1)], tmp_path / "out", on_event=watch, jobs=jobs)
    assert not list((tmp_path / "out").rglob("failure.json"))
