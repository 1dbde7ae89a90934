"""The picture of a run: what it draws, where it goes, and the options that a preset gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from fedmtl.analysis.report.style import style
from fedmtl.analysis.report.task_bytes import task_bytes
from fedmtl.cli import app
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.run_options import run_options
from tests.analysis.report.studies import study

PRESET = """# Five clients and two tasks: small.
name = "small"
rounds = 2
runtime = "InProcess"
engine = "Loop"
data = { name = "synthetic", clients = 5, examples = 6, test_examples = 4, features = 4, rank = 2, tasks = 2 }
model = { name = "MLP", hidden = [3] }
algorithm = { name = "FedPer", lr = 0.1, epochs = 1 }
"""

PNG = b"\x89PNG"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.toml").write_text(PRESET)
    (tmp_path / "full.toml").write_text(f'{PRESET}\n[run]\nbaseline = true\npicture = "scores.png"\n')
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["run", *arguments], env={"COLUMNS": "100"})


def test_a_panel_for_each_task_over_its_bytes(tmp_path: Path) -> None:
    """The study's FedPer sends 500 bytes an upload, dense, and 250 in FP16; what is drawn is what the curves hold."""
    groups = study(tmp_path)
    picture = task_bytes(groups)
    assert picture is not None
    (axes,) = picture.figure.axes
    with style():
        picture.figure.draw_without_rendering()
    assert axes.get_title(loc="left") == "slant: rmse ↓" and axes.get_xscale() == "log"
    curves = {group.name: group.curve("slant") for group in groups}
    drawn = {tuple(np.asarray(line.get_xdata(), float)[1:]) for line in axes.lines}
    for curve in curves.values():
        assert not any(curve.bytes) or tuple(curve.bytes[1:]) in drawn
    records = [(r["name"], r["round"], r["train_bytes"], r["value"]) for r in picture.numbers]
    assert records == [
        (name, *point) for name, c in curves.items() for point in zip(c.rounds, c.bytes, c.mean, strict=True)
    ]
    (below,) = picture.figure.legends
    assert {text.get_text() for text in below.get_texts()} == set(curves)
    panel = axes.get_tightbbox()
    assert panel is not None and not below.get_window_extent().overlaps(panel)  # nor the label of the axis


def test_run_draws_where_it_is_told_to(here: Path) -> None:
    result = call("plain.toml", "--picture", "drawn.svg")
    assert result.exit_code == 0, result.output
    assert "     picture  drawn.svg" in result.stdout and "Local floor" not in result.stdout
    assert (here / "drawn.svg").read_bytes().count(b"FedPer") >= 1


def test_a_preset_has_options_of_its_own(here: Path) -> None:
    """With a folder the picture goes there; an algorithm that is Local has no floor beside it."""
    result = call("full.toml", "--out", "out")
    assert result.exit_code == 0, result.output
    assert "Local floor" in result.stdout and "     picture  out/scores.png" in result.stdout
    assert (here / "out" / "scores.png").read_bytes().startswith(PNG) and (here / "out" / "baseline").is_dir()
    result = call("full.toml", "--set", "algorithm=Local(epochs=1)")
    assert result.exit_code == 0, result.output
    assert "Local floor" not in result.stdout and (here / "scores.png").read_bytes().startswith(PNG)
    assert load_experiment("full.toml") == load_experiment("plain.toml")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[run]\nbaselin = true", "bad.toml: run: unknown key 'baselin'; the keys are baseline, picture. Did you mean"),
        ('[run]\npicture = "../a.png"', "bad.toml: run: picture is the name of a file, got '../a.png', which leads"),
        ("[run]\nbaseline = 1", "bad.toml: run: baseline"),
        ('[run]\npicture = "a.gif"', "--picture writes a .png, .pdf or .svg, got 'a.gif'; name it"),
    ],
)
def test_a_bad_table_is_one_line(here: Path, table: str, message: str) -> None:
    (here / "bad.toml").write_text(f"{PRESET}\n{table}\n")
    result = call("bad.toml")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {message}"), result.stderr


def test_a_picture_that_cannot_be_is_refused_before_the_run(here: Path) -> None:
    for name, message in (("a.gif", "name it scores.png"), ("no/a.png", "there is no folder")):
        result = call("plain.toml", "--picture", name)
        assert result.exit_code == 2 and message in result.stderr and not result.stdout
    assert sorted(path.name for path in here.iterdir()) == ["full.toml", "plain.toml"]


def test_presets_without_a_table(here: Path) -> None:
    found: Any = run_options("plain.toml")
    assert found == run_options(None) and not found.baseline and not found.picture
