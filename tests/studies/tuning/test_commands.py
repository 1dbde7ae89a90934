"""fedmtl tune, and fedmtl compare --tune."""

import csv
from pathlib import Path

import pytest

from fedmtl.analysis import find_runs, read_run
from fedmtl.runs.presets import load_experiment
from fedmtl.runtime import InProcess
from tests.test_cli import call

pytest.importorskip("optuna")

PRESET = """
name = "toy"
rounds = 2
runtime = "InProcess"
data = { name = "synthetic", clients = 4, examples = 10, test_examples = 4, features = 4, rank = 2 }
model = { name = "MLP", hidden = [3] }
algorithm = "MRMTL(epochs=1)"

[tune]
algorithm.lr = { low = 0.01, high = 1.0, log = true }
algorithm.lam = [0.1, 1.0]

[compare]
algorithms = ["Local(epochs=1)", "MRMTL(epochs=1)"]
seeds = 2
"""


@pytest.fixture
def preset(tmp_path: Path) -> str:
    path = tmp_path / "toy.toml"
    path.write_text(PRESET)
    return str(path)


def test_a_preset_is_tuned_into_one_that_runs(preset: str, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    first = call("tune", preset, "--trials", "3", "--out", str(out))
    assert first.exit_code == 0, first.output
    output = " ".join(first.output.split())
    assert "valid_fraction=0.2 for trials" in output and "3 trials on seed 10007" in output
    lines = (out / "trials.csv").read_text().splitlines()
    assert len(lines) == 4 and lines[0].endswith("algorithm.lr,algorithm.lam")
    tuned = load_experiment(out / "tuned.toml")
    assert (tuned.valid_fraction, tuned.seed, tuned.runtime) == (0.2, 0, InProcess())
    assert f"fedmtl run {out / 'tuned.toml'}" in output
    again = call("tune", preset, "--trials", "3", "--out", str(out))
    assert again.output == first.output
    ran = call("run", str(out / "tuned.toml"), "--out", str(tmp_path / "run"))
    assert ran.exit_code == 0 and "validation score" in ran.output and "test, model of round" in ran.output


@pytest.mark.usefixtures("no_pictures")
def test_a_front_is_found_and_run_over_seeds(preset: str, tmp_path: Path) -> None:
    """Half of the clients or all: both objectives are printed, and the presets of the front are swept."""
    path = Path(preset)
    path.write_text(PRESET.replace("algorithm.lam = [0.1, 1.0]", "cohort = [0.5, 1.0]"))
    out, aims = tmp_path / "front", ("--objective", "score", "--objective", "bytes")
    found = call("tune", preset, "--trials", "4", "--sampler", "random", *aims, "--out", str(out))
    assert found.exit_code == 0, found.output
    output = " ".join(found.output.split())
    presets = sorted(map(str, (out / "front").iterdir()))
    assert f"front: {len(presets)} of 4 trials, which no other dominates" in output and len(presets) > 1
    assert "kB" in output and f"fedmtl sweep {out / 'front'}/*.toml" in output
    swept = call("sweep", *presets, "--seeds", "1", "--out", str(out / "seeds"))
    assert swept.exit_code == 0, swept.output
    with (out / "seeds" / "fronts.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["cost"] == "bytes"]
    assert len(rows) == len(presets)
    refused = call("tune", preset, *aims, "--objective", "seconds", "--out", str(tmp_path / "timed"))
    assert refused.exit_code == 2 and "set link, such as --set" in " ".join(refused.output.split())


@pytest.mark.usefixtures("no_pictures")
def test_a_comparison_is_tuned_alike_and_run_on_its_own_seeds(preset: str, tmp_path: Path) -> None:
    out = tmp_path / "fair"
    found = call("compare", preset, "--tune", "3", "--out", str(out))
    assert found.exit_code == 0, found.output
    said = (out / "tuning.md").read_text()
    assert "3 trials each (tpe) on seed 10007, which is reported nowhere" in said
    assert said.splitlines()[0] in " ".join(found.output.split())
    runs = [read_run(folder) for folder in find_runs([out / "runs"])]
    assert sorted((run.experiment["algorithm"]["name"], run.seed) for run in runs) == [
        (name, seed) for name in ("Local", "MRMTL") for seed in (0, 1)
    ]
    for name in ("Local", "MRMTL"):
        rows = (out / "tuning" / f"toy-{name}{'-Dense' * (name == 'MRMTL')}" / "trials.csv").read_text().splitlines()
        assert len(rows) == 4  # equal budgets
        assert {run.experiment["algorithm"]["lr"] for run in runs if run.experiment["algorithm"]["name"] == name}
    assert all(run.finished and run.final_part == "test" for run in runs)
    assert "are of validation parts" in (out / "report.md").read_text()
    assert call("compare", preset, "--tune", "3", "--out", str(out)).exit_code == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "algorithm.lr = 0.1",
            "'algorithm.lr' is a range, { low = 0.001, high = 1.0, log = true }, or a list",
        ),
        ("algorithm.lr = { low = 0.1 }", "'algorithm.lr' needs high"),
        ("algorithm.lr = { low = 1.0, high = 0.1 }", "a range has low < high, both finite, got low=1.0 and high=0.1"),
        ("algorithm.lr = { low = 0.0, high = 1.0, log = true }", "a logarithmic range begins above 0"),
        ("algorithm.lr = { low = 0.1, high = 1.0, step = 2 }", "unknown key 'step'; low, high and log are"),
        ("algorithm.nu = [1.0]", "no field 'nu'; its fields are lr, epochs, lam"),
    ],
)
def test_tables_that_are_none(table: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(PRESET.split("[tune]")[0] + f"[tune]\n{table}\n")
    found = call("tune", str(path), "--out", str(tmp_path / "out"))
    assert found.exit_code == 2 and "error: " in found.output and message in " ".join(found.output.split())
