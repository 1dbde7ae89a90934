"""Sweeps: all combinations, each once; fronts by hand, with intervals and the seeds that count."""

import csv
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import t
from typer.testing import CliRunner

from fedmtl import sweep
from fedmtl.analysis.fronts import fronts
from fedmtl.analysis.groups import group_runs
from fedmtl.analysis.read import find_runs, read_run
from fedmtl.analysis.report.front_table import front_files
from fedmtl.cli import app
from fedmtl.runs.sweep_presets import Varied
from fedmtl.studies.sweeping import swept
from tests.analysis.run_folders import write_run
from tests.pictures import undrawn

PRESET = """name = "tiny"
rounds = 1
runtime = "InProcess"
data = { name = "synthetic", clients = 3, examples = 8, test_examples = 4, features = 3, rank = 2, tasks = 1 }
model = { name = "MLP", hidden = [2] }
algorithm = "FedPer(epochs=1)"
batch_size = 4
"""


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(PRESET)
    return tmp_path / "tiny.toml"


def test_all_combinations_once(preset: Path) -> None:
    """2 rates × 2 sizes × 2 codecs × 2 seeds, all unlike; a value that stands twice is one experiment."""
    over = {"algorithm.lr": [0.01, 0.1], "batch_size": [2, 4]}
    found, target = swept([str(preset)], over, Varied(codecs=("Dense", "Int8"), seeds=2), ["rounds=3"], [])
    seen = {(one.algorithm.lr, one.batch_size, repr(one.up_codec), one.seed, one.rounds) for one in found}
    codecs = ("Dense()", "Int8(block=256)")
    assert len(found) == 16 and target is None
    assert seen == {
        (lr, size, codec, seed, 3) for lr in (0.01, 0.1) for size in (2, 4) for codec in codecs for seed in (0, 1)
    }
    twice, _ = swept([str(preset)], {"batch_size": [2, 2]}, Varied(seeds=1), [], [])
    assert len(twice) == 1


@pytest.mark.parametrize(
    ("over", "algorithms", "message"),
    [
        ({"batch_size": []}, (), "batch_size: the values of a sweep are a list of at least one"),
        ({"batch_size": 4}, (), "batch_size: the values of a sweep are a list"),
        ({"seed": [1, 2]}, (), "seed is varied by"),
        ({"algorithm.lr": [0.1]}, ("Local",), "algorithm.lr is a field of the preset's algorithm"),
        ({"batch_sise": [1]}, (), "batch_sise"),
        ({"batch_size": [0.5]}, (), "batch_size"),
    ],
)
def test_bad_input(preset: Path, over: Any, algorithms: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swept([str(preset)], over, Varied(algorithms=algorithms, seeds=1), [], [])


def test_fronts_by_hand(tmp_path: Path) -> None:
    """Bytes of two clients, two rounds: A 40 up and 80 down, .6; B 400 and 800, .7; C 4,000 and 8,000, .65.

    B's front is A's and its own; C costs more than B and is worse. Of A's three seeds, at .59, .60 and .61, the
    interval is t(.975, 2) s / √3 with s = .01; two reach .595. A fourth seed has not finished.
    """
    for name, factor, scores in (("A", 1, (0.59, 0.60, 0.61)), ("B", 10, (0.7,)), ("C", 100, (0.65,))):
        for seed, score in enumerate(scores):
            own = {"name": name, "lr": 0.1}
            write_run(
                tmp_path / f"{name}{seed}", own, {"t": [0.1, 0.2, score]}, seed=seed, up=10 * factor, down=20 * factor
            )
    write_run(tmp_path / "A3", {"name": "A", "lr": 0.1}, {"t": [0.1, 0.2, 0.3]}, seed=3, summary=False)
    groups = group_runs(map(read_run, find_runs([tmp_path])))
    rows = {(row.cost, row.name): row for row in fronts(groups, 0.595)}
    assert {key for key, row in rows.items() if row.front} == {
        (cost, name) for cost in ("bytes", "bytes up", "bytes down") for name in ("A", "B")
    }
    a = rows["bytes up", "A"]
    assert (a.spent.mean, a.spent.half) == (40, 0)
    assert rows["bytes", "A"].spent.mean == 120 and rows["bytes down", "C"].spent.mean == 8000
    assert a.score.mean == pytest.approx(0.6) and a.score.half == pytest.approx(t.ppf(0.975, 2) * 0.01 / sqrt(3))
    assert (a.seeds, a.planned, a.reached) == (3, 4, 2)
    made = front_files(groups, 0.595)
    assert set(made) == {"fronts.md", "fronts.csv", "fronts.tex"}
    text = made["fronts.md"].decode()
    assert "3/4" in text and "2/4" in text and text.count("front |") >= 6
    records = list(csv.DictReader(made["fronts.csv"].decode().splitlines()))
    assert len(records) == 9 and {one["front"] for one in records} == {"0", "1"}


def test_a_sweep_writes_fronts_and_goes_on(preset: Path, tmp_path: Path) -> None:
    """In Python, and again by the command, which repeats no run: the seconds in their summaries stay as they are."""
    with undrawn():
        found = sweep(str(preset), tmp_path / "out", over={"algorithm.lr": [0.01, 0.1]}, seeds=1)
    assert len(found.runs) == 2 and not found.failures and (tmp_path / "out" / "fronts.csv").is_file()
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "runs").rglob("summary.json")}
    words = ["sweep", str(preset), "--over", "algorithm.lr=[0.01,0.1]", "--seeds", "1", "--out", str(tmp_path / "out")]
    with undrawn():
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "front" in done.stdout, done.output
    assert before == {path: path.read_bytes() for path in before} and len(before) == 2
    wrong = CliRunner().invoke(app, [*words, "--over", "algorithm.lr=[1]"])
    assert wrong.exit_code == 2 and "twice" in wrong.stderr
    assert "--over is written" in CliRunner().invoke(app, ["sweep", str(preset), "--over", "rounds"]).stderr
