"""The first demo: its preset is a comparison along the label skew, and a small one of it ends in pictures and words."""

from pathlib import Path

import pytest

from fedmtl.analysis import find_runs, read_run
from fedmtl.analysis.along import along, crossings, places
from fedmtl.analysis.report import write_report
from fedmtl.analysis.words import sentences
from fedmtl.run_experiment import run
from fedmtl.runs.axis import read_axis, write_axis
from fedmtl.runs.presets import load_experiment, read_preset
from fedmtl.runs.settings import override
from fedmtl.runs.sweep import expand, folder_names, sweep_of
from fedmtl.runtime import InProcess

METHODS = {"Local", "FedAvg", "FedPer", "MRMTL"}


def test_each_value_has_the_four_methods_tuned_and_doing_the_same_local_work() -> None:
    values, path = read_preset("demo")
    sweep = sweep_of(values.pop("compare"))
    assert sweep.axis is not None and sweep.axis.field == "data.classes"
    assert (sweep.axis.values[0], sweep.axis.values[-1], len(sweep.seeds)) == (10, 1, 3)
    experiments = expand(values, sweep, str(path))
    for classes in sweep.axis.values:
        own = [one for one in experiments if one.data.classes == classes]
        assert {type(one.algorithm).__name__ for one in own} == METHODS
        assert len({one.algorithm.epochs for one in own}) == 1
    dense = [one for one in experiments if type(one.up_codec).__name__ == "Dense"]
    assert len(dense) == len(METHODS) * len(sweep.axis.values) * 3
    assert len(dense) < len(experiments)  # some compress
    assert load_experiment("demo").runtime == InProcess()  # `fedmtl run demo` starts nothing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both ends of the axis, two seeds, ten clients, two rounds."""
    out = tmp_path_factory.mktemp("demo")
    values, path = read_preset("demo")
    sweep = sweep_of(values.pop("compare"))
    small = override(values, ["rounds=2", "evaluate_every=1", "data.clients=10"])
    experiments = expand(small, sweep, str(path))
    write_axis(out, sweep.axis)
    for one, name in zip(experiments, folder_names(experiments, sweep.axis), strict=True):
        if one.data.classes in (10, 3, 1) and one.seed < (2 if one.data.classes != 3 else 1):
            run(one, out / "runs" / name)
    return out


def test_a_small_one_runs_and_its_claims_are_computed(folder: Path) -> None:
    folders = find_runs([folder])
    runs, axis = [read_run(one) for one in folders], read_axis(folders)
    assert axis is not None
    (lines,) = along(runs, axis)
    assert {line.name for line in lines.lines} == METHODS
    outcome = places(lines)
    assert [place.value for place in outcome] == [10, 3, 1]
    assert all(place.best in METHODS for place in outcome)
    assert crossings(lines) == []  # two seeds have no interval, so nothing is clear
    along_axis, saved = sentences(runs, axis)
    assert along_axis.startswith("By digits that a client has: at 10") and along_axis.endswith(".")
    assert "fewer bytes" in saved


def test_its_report_has_both_pictures_and_both_sentences(folder: Path, no_pictures: None) -> None:
    files = {path.name for path in write_report([folder], folder)}
    text = (folder / "report.md").read_text()
    assert "along.png" in files and "](along.png)" in text
    assert any("tradeoff.png" in name for name in files)
    assert "## Along digits that a client has" in text and "fewer bytes" in text
