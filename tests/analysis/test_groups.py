"""Runs of one experiment, one a seed."""

import json
from math import isnan, sqrt
from pathlib import Path
from typing import Any

import pytest

from fedmtl.analysis import Curve, group_runs, markdown, read_run, tabulate
from fedmtl.analysis.groups import mean_curve
from fedmtl.analysis.intervals import estimate, too_few
from tests.analysis.run_folders import write_run

FEDPER = {"name": "FedPer", "lr": 0.1}
LOCAL = {"name": "Local", "lr": 0.1}
T2 = (2 * 0.975 - 1) / sqrt(2 * 0.975 * (1 - 0.975))
"""Student's t of two degrees of freedom at 0.975, in closed form: (2p − 1) / √(2 p (1 − p))."""


def test_runs_that_differ_in_seed_alone_are_one_group_in_the_order_of_seeds(tmp_path: Path) -> None:
    runs = [
        read_run(write_run(tmp_path / f"{name}{seed}", {"name": name, "lr": 0.1}, {"digit": [0.0, 0.5]}, seed=seed))
        for name in ("Local", "FedPer")
        for seed in (2, 0, 1)
    ]
    groups = group_runs(runs)
    assert [(group.name, group.seeds) for group in groups] == [("FedPer", (0, 1, 2)), ("Local", (0, 1, 2))]
    assert groups[0].label == "FedPer(lr=0.1) / Dense()"


@pytest.mark.parametrize(
    "setting",
    [{"runtime": {"name": "Ray", "workers": 4}}, {"engine": {"name": "VMap", "chunk": 3}}, {"workers": 4}],
)
def test_where_a_run_took_place_does_not_tell_groups_apart(tmp_path: Path, setting: dict[str, Any]) -> None:
    a = read_run(write_run(tmp_path / "a", FEDPER, {"digit": [0.5]}, seed=0))
    b = read_run(write_run(tmp_path / "b", FEDPER, {"digit": [0.5]}, seed=1, **setting))
    assert [group.seeds for group in group_runs([a, b])] == [(0, 1)]


@pytest.mark.parametrize(
    "setting", [{"batch_size": 4}, {"data": {"name": "Other"}}, {"up_codec": {"name": "FP16"}}, {"name": "again"}]
)
def test_any_other_setting_does(tmp_path: Path, setting: dict[str, Any]) -> None:
    a = read_run(write_run(tmp_path / "a", FEDPER, {"digit": [0.5]}, seed=0))
    b = read_run(write_run(tmp_path / "b", FEDPER, {"digit": [0.5]}, seed=1))
    c = read_run(b.folder)
    c.experiment.update(setting)
    assert len(group_runs([a, b])) == 1
    assert len(group_runs([a, c])) == 2


def test_one_seed_twice_is_an_error_that_names_both_folders(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / name, FEDPER, {"digit": [0.5]})) for name in ("a", "b")]
    with pytest.raises(ValueError, match=r"FedPer has two runs of seed 0, .*/a and .*/b"):
        group_runs(runs)


def test_no_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        group_runs([])


def test_the_interval_is_student_s_and_there_is_none_below_three_seeds() -> None:
    """Of 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, divided by n - 1 = 2: s = √7, and half the width t √7 / √3."""
    found = estimate([1.0, 2.0, 6.0])
    assert found == pytest.approx((3, T2 * sqrt(7 / 3)), rel=1e-9)
    assert (found.low, found.high) == pytest.approx((3 - T2 * sqrt(7 / 3), 3 + T2 * sqrt(7 / 3)), rel=1e-9)
    assert estimate([0.25]) == (0.25, None) and estimate([1.0, 2.0]) == (1.5, None)
    assert isnan(estimate([]).mean)
    assert too_few(2) == "2 seeds are too few for an interval: 5 would do"
    assert too_few(1) == "1 seed is too few for an interval: 5 would do"


def test_a_mean_curve_has_the_rounds_that_all_seeds_have() -> None:
    """Round 1: values 0.25, 0.5 and 0.75, mean 0.5, s = √(2 · 0.25² / 2) = 0.25; bytes 100, 200 and 300."""
    short = [Curve([0, 1], [0, 200], [0.0, 0.5]), Curve([0, 1], [0, 300], [0.0, 0.75])]
    curve = mean_curve([Curve([0, 1, 2], [0, 100, 200], [0.0, 0.25, 0.9]), *short])
    assert curve.rounds == [0, 1]
    assert curve.bytes == [0, 200]
    assert curve.mean == [0, 0.5]
    assert curve.half == pytest.approx([0, T2 * 0.25 / sqrt(3)], rel=1e-9)
    assert mean_curve(short).half is None
    assert mean_curve([]) == ([], [], [], None)


def test_runs_that_do_not_count_are_in_no_number_of_their_group(tmp_path: Path) -> None:
    """Seeds 0 and 4 end at 0.5 and 0.7: 0.6. Seed 1 diverges at round 1; 2 and 3 are unfinished, at rounds 2 and 1."""
    ends = {
        0: [0.0, 0.25, 0.5],
        1: [0.0, float("nan"), float("nan")],
        2: [0.0, 0.9, 0.9],
        3: [0.0, 0.9],
        4: [0, 0.3, 0.7],
    }
    for seed, scores in ends.items():
        write_run(tmp_path / str(seed), FEDPER, {"digit": scores}, seed=seed, up=10 * seed, summary=seed not in (2, 3))
    short = read_run(tmp_path / "3")
    short.experiment["rounds"] = 2
    (group,) = group_runs([short, *(read_run(tmp_path / str(seed)) for seed in (0, 1, 2, 4))])
    assert group.seeds == (0, 1, 2, 3, 4)
    assert [run.seed for run in group.finished] == [0, 4]
    assert [failure[:4] for failure in group.failures] == [
        (1, "diverged", 1, 2), (2, "unfinished", 2, 2), (3, "unfinished", 1, 2),
    ]  # fmt: skip
    assert group.status == "2 of 5 seeds · 1 diverged at round 1 · 2 unfinished (rounds 1, 2 of 2)"
    assert group.score().mean == pytest.approx(0.6) and group.value("digit").mean == pytest.approx(0.6)
    assert group.score_curve().mean == pytest.approx([0, 0.275, 0.6]) and group.curve("digit").bytes == [0, 40, 80]
    (row,) = tabulate([group], target=0.65)
    assert row.training_bytes == 80 and (row.reached, row.counted) == (1, 2)
    assert "| FedPer | 2 of 5 seeds · 1 diverged at round 1 · 2 unfinished (rounds 1, 2 of 2) |" in markdown([row])


def test_a_group_without_a_run_that_counts_has_no_number(tmp_path: Path) -> None:
    (group,) = group_runs([read_run(write_run(tmp_path / "a", FEDPER, {"digit": [0.1, 0.9]}, summary=False))])
    assert isnan(group.score().mean) and isnan(group.value("digit").mean)
    assert group.score_curve().mean == [] and group.curve("digit").mean == []


def test_the_best_constants_of_the_data_are_a_row(tmp_path: Path) -> None:
    """Two tasks: accuracies .25 and score .25; rmse 4 and score 0: mean score .125, each of three seeds."""
    for seed in range(3):
        folder = write_run(tmp_path / str(seed), FEDPER, {"digit": [0.0, 0.5], "slant": [0.0, 0.5]}, seed=seed,
                           metrics={"slant": ("rmse", False)})  # fmt: skip
        text = json.loads((folder / "summary.json").read_text())
        floors = {"digit": {"value": 0.25, "score": 0.25}, "slant": {"value": 4.0, "score": 0.0}}
        (folder / "summary.json").write_text(json.dumps(text | {"floors": floors}))
    rows = tabulate(group_runs(read_run(tmp_path / str(seed)) for seed in range(3)))
    assert [row.name for row in rows] == ["FedPer", "constant guess"]
    assert rows[1].score == (0.125, 0.0) and rows[1].values["slant"] == (4.0, 0.0)
    assert "| constant guess | 3 | – | 0.125 ± 0.000 | 0.250 ± 0.000 | 4.000 ± 0.000 | – | – | – | – |" in markdown(
        rows
    )
