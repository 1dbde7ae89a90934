"""Runs of one experiment, one a seed."""

from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from fedmtl.study import Curve, group_runs, read_run
from fedmtl.study.groups import estimate, mean_curve
from tests.study.run_folders import write_run

FEDPER = {"name": "FedPer", "lr": 0.1}
LOCAL = {"name": "Local", "lr": 0.1}


def test_runs_that_differ_in_seed_alone_are_one_group_in_the_order_of_seeds(tmp_path: Path) -> None:
    runs = [
        read_run(write_run(tmp_path / f"{name}{seed}", {"name": name, "lr": 0.1}, {"digit": [0.0, 0.5]}, seed=seed))
        for name in ("Local", "FedPer")
        for seed in (2, 0, 1)
    ]
    groups = group_runs(runs)
    assert [(group.name, group.seeds) for group in groups] == [("FedPer", (0, 1, 2)), ("Local", (0, 1, 2))]
    assert groups[0].label == "FedPer(lr=0.1) / Dense()"


@pytest.mark.parametrize("setting", [{"workers": 4}, {"runtime": "ray"}, {"engine": "vmap"}])
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


def test_the_spread_is_the_sample_standard_deviation() -> None:
    """Of 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, divided by n - 1 = 2."""
    mean, std = estimate([1.0, 2.0, 6.0])
    assert mean == pytest.approx(3, rel=1e-12)
    assert std == pytest.approx(sqrt(7), rel=1e-12)
    assert estimate([0.25]) == (0.25, None)


def test_a_mean_curve_has_the_rounds_that_all_seeds_have() -> None:
    """Round 1: values 0.25 and 0.75, mean 0.5, std √(2 · 0.25²) = 0.25 √2; bytes 100 and 300."""
    curve = mean_curve([Curve([0, 1, 2], [0, 100, 200], [0.0, 0.25, 0.9]), Curve([0, 1], [0, 300], [0.0, 0.75])])
    assert curve.rounds == [0, 1]
    assert curve.bytes == [0, 200]
    assert curve.mean == [0, 0.5]
    assert curve.std == pytest.approx([0, 0.25 * sqrt(2)], rel=1e-12)
    assert mean_curve([Curve([0], [0], [0.5])]).std is None
