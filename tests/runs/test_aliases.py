"""Names that a preset gives to groups, and that reports of the folders have later."""

from pathlib import Path
from typing import Any

import pytest

from fedmtl.analysis import find_runs, group_runs, read_run
from fedmtl.analysis.report import write_report
from fedmtl.runs.aliases import named_by, read_aliases, write_aliases
from fedmtl.runs.sweep import sweep_of
from tests.analysis.run_folders import write_run

TOPK = {"name": "ErrorFeedback", "codec": {"name": "TopK", "keep": 0.05}}
DENSE = {"name": "Dense"}
FEDPER = {"name": "FedPer", "lr": 0.1}


def experiment(label: str, algorithm: dict[str, Any], up: Any = DENSE) -> tuple[str, dict[str, Any]]:
    data = {"name": "Toy", "clients": 2}
    return label, {"seed": 0, "data": data, "algorithm": algorithm, "up_codec": up, "down_codec": DENSE}


EXPERIMENTS = [
    experiment("FedPer(lr=0.1) / Dense()", FEDPER),
    experiment("FedPer(lr=0.1) / ErrorFeedback(…) up", FEDPER, TOPK),
    experiment("Local() / Dense()", {"name": "Local"}),
]


@pytest.mark.parametrize(
    ("aliases", "names"),
    [
        ({}, ["", "", ""]),
        ({"Local() / Dense()": "alone"}, ["", "", "alone"]),
        ({"FedPer · TopK5+EF ↑": "small"}, ["", "small", ""]),
        ({"FedPer": "ours"}, ["ours", "ours · TopK5+EF ↑", ""]),
        ({"TopK5+EF ↑": "5 %"}, ["", "FedPer · 5 %", ""]),
        ({"FedPer": "ours", "TopK5+EF ↑": "5 %"}, ["ours", "ours · 5 %", ""]),
        ({"FedPer": "ours", "FedPer(lr=0.1) / Dense()": "dense"}, ["dense", "ours · TopK5+EF ↑", ""]),
    ],
)
def test_a_key_is_a_label_a_short_name_or_a_part_of_one(aliases: dict[str, str], names: list[str]) -> None:
    assert named_by(aliases, EXPERIMENTS) == names


def test_an_unknown_key_lists_the_labels_and_one_alias_is_for_one_group() -> None:
    with pytest.raises(ValueError, match=r"no label is 'FedPr'; the labels are FedPer; FedPer · TopK5\+EF ↑; Local;"):
        named_by({"FedPr": "ours"}, EXPERIMENTS)
    with pytest.raises(ValueError, match="would both be 'x'"):
        named_by({"FedPer": "x", "FedPer · TopK5+EF ↑": "x"}, EXPERIMENTS)
    with pytest.raises(ValueError, match="would both be 'Local'"):
        named_by({"FedPer": "Local"}, EXPERIMENTS)
    assert named_by({"Local": "alone"}, EXPERIMENTS[:2], EXPERIMENTS) == ["", ""], "a key of a method left out today"


@pytest.mark.parametrize("alias", ["", " ", "two\nlines", 3, "x" * 81])
def test_an_alias_is_a_short_text_of_one_line(alias: Any) -> None:
    with pytest.raises(ValueError, match="compare: aliases: 'FedPer' needs a text of one line"):
        sweep_of({"aliases": {"FedPer": alias}})
    with pytest.raises(ValueError, match="compare: aliases is a table"):
        sweep_of({"aliases": ["FedPer"]})


def test_the_folder_of_a_comparison_keeps_them_for_later_reports(tmp_path: Path) -> None:
    names = [f"toy-{name}/seed{seed}" for name in ("FedPer", "Local") for seed in (0, 1)]
    for name in names:
        algorithm = name.split("/")[0].removeprefix("toy-")
        write_run(tmp_path / "runs" / name, {"name": algorithm}, {"digit": [0.0, 0.5]}, seed=int(name[-1]))
    write_aliases(tmp_path, names, ["ours", "ours", "", ""])
    for folders in ([tmp_path], [tmp_path / "runs" / "toy-FedPer" / "seed0"]):
        found = find_runs(folders)
        assert group_runs(map(read_run, found), read_aliases(found))[0].name == "ours"
    text = write_report([tmp_path], tmp_path)[-1].read_text(encoding="utf-8")
    assert "| ours |" in text and "ours − Local" in text and "- ours: `FedPer() / Dense()`" in text
    write_aliases(tmp_path, names, [""] * 4)
    assert read_aliases(find_runs([tmp_path])) == {}


def test_one_alias_of_two_comparisons_is_told_apart_in_a_report_of_both(tmp_path: Path) -> None:
    for comparison, algorithm in (("a", "FedPer"), ("b", "FedRep")):
        write_run(tmp_path / comparison / "runs" / "g" / "seed0", {"name": algorithm}, {"digit": [0.5]})
        write_aliases(tmp_path / comparison, ["g/seed0"], ["ours"])
    found = find_runs([tmp_path])
    groups = group_runs(map(read_run, found), read_aliases(found))
    assert [group.name for group in groups] == ["ours (FedPer)", "ours (FedRep)"]
