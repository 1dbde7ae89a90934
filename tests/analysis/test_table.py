"""The table's numbers, by hand."""

import csv
import io
import json
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.analysis import ExperimentRow, group_runs, human_bytes, markdown, read_run, record, tabulate, to_csv
from fedmtl.analysis.intervals import Estimate
from fedmtl.analysis.numbers import human_estimate
from fedmtl.analysis.table import MAX_COLUMNS
from fedmtl.runs.training_rows import training_blocks
from fedmtl.server.round_result import TrainingMetric
from fedmtl.tables.schemas import TRAIN_LOSS, TRAINING
from tests.analysis.run_folders import write_run, write_table

FEDPER = {"name": "FedPer", "lr": 0.1}
T2 = (2 * 0.975 - 1) / sqrt(2 * 0.975 * (1 - 0.975))


def rows(folder: Path, finals: list[float], target: float | None = None, **settings: Any) -> list[ExperimentRow]:
    """Runs with seeds 0, 1, …: digit climbs to the final score in two rounds, slant's rmse falls to 1 - final / 2."""
    found = [
        read_run(
            write_run(
                folder / str(seed), FEDPER, {"digit": [0.0, 0.4, final], "slant": [0.0, 0.2, final / 2]}, seed=seed,
                up=30 + seed, down=1000, evaluate=7, metrics={"slant": ("rmse", False)}, **settings,
            )
        )
        for seed, final in enumerate(finals)
    ]  # fmt: skip
    return tabulate(group_runs(found), target)


def test_means_and_intervals_over_seeds(tmp_path: Path) -> None:
    """Digit 0.6, 0.7, 0.8: mean 0.7, std 0.1. Slant 0.7, 0.65, 0.6. Scores (0.6 + 0.3) / 2 = 0.45, 0.525, 0.6.

    Half the width of the interval is t std / √3, t = 4.303 (two degrees of freedom).
    """
    (row,) = rows(tmp_path, [0.6, 0.7, 0.8])
    assert row.values["digit"] == pytest.approx((0.7, 0.1 * T2 / sqrt(3)), abs=1e-9)
    assert row.values["slant"] == pytest.approx((0.65, 0.05 * T2 / sqrt(3)), abs=1e-9)
    assert row.score == pytest.approx((0.525, 0.075 * T2 / sqrt(3)), abs=1e-9)
    assert (row.seeds, row.rounds, row.failures) == ((0, 1, 2), (2, 2, 2), ())


def test_bytes_are_means_over_seeds_of_whole_runs(tmp_path: Path) -> None:
    """Two clients, two rounds: 4 · 1000 down; 4 · 30 and 4 · 31 up. Evaluation: 3 times, 2 clients, 2 ways, 7 bytes."""
    (row,) = rows(tmp_path, [0.6, 0.8])
    assert (row.down_bytes, row.up_bytes, row.training_bytes) == (4000, 122, 4122)
    assert row.evaluation_bytes == 84


def test_the_training_loss_of_the_last_round_is_a_column_where_all_runs_have_one(tmp_path: Path) -> None:
    """Seeds 0 and 1 end at 0.3 and 0.5 after 2.0 in round 1: the mean is 0.4. A third run without losses hides it."""
    without = rows(tmp_path, [0.6, 0.8])
    assert "training loss" not in markdown(without) and "train_loss" not in to_csv(without)
    for seed, last in enumerate((0.3, 0.5)):
        blocks = []
        for round, loss in ((1, 2.0), (2, last)):
            client = np.array([0, 1], np.int64)
            metric = TrainingMetric(client, np.array([1.0, 3.0]), np.full(2, loss, np.float32))
            blocks += training_blocks(round, {"other": metric._replace(values=metric.values + 9), TRAIN_LOSS: metric})
        write_table(tmp_path / str(seed), TRAINING, blocks)
    found = tabulate(group_runs([read_run(tmp_path / str(seed)) for seed in (0, 1)]))
    (flat,) = csv.DictReader(io.StringIO(to_csv(found)))
    assert float(flat["train_loss_mean"]) == pytest.approx(0.4) and "training loss ↓" in markdown(found)
    write_run(tmp_path / "2", FEDPER, {"digit": [0.0, 0.4, 0.5], "slant": [0.0, 0.2, 0.25]}, seed=2,
              metrics={"slant": ("rmse", False)})  # fmt: skip
    (row,) = tabulate(group_runs([read_run(tmp_path / str(seed)) for seed in (0, 1, 2)]))
    assert row.train_loss is None


def test_one_seed_has_a_mean_and_no_interval(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, [0.6])
    assert row.values["digit"] == (0.6, None)


def test_bytes_to_a_target_are_a_mean_only_when_every_seed_came_there(tmp_path: Path) -> None:
    """Mean scores are 0, 0.3 and 0.45 or 0.6. 0.3 is there after one round: 2 · 1030 and 2 · 1031 bytes."""
    (row,) = rows(tmp_path / "a", [0.6, 0.8], target=0.3 - 1e-9)
    assert (row.bytes_to_target, row.reached) == (2061, 2)
    (row,) = rows(tmp_path / "b", [0.6, 0.8], target=0.5)
    assert (row.bytes_to_target, row.reached) == (None, 1)
    assert "– (1 of 2 seeds)" in markdown([row])


def test_markdown(tmp_path: Path) -> None:
    text = markdown(rows(tmp_path, [0.6, 0.8], target=0.3 - 1e-9))
    assert text.splitlines() == [
        "| experiment | seeds | local passes | mean score ↑ | digit: accuracy ↑ | slant: rmse ↓ | training down "
        "| training up | training total | evaluation | to score 0.3 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| FedPer | 2 | 5 | 0.525 | 0.700 | 0.650 | 4.00 kB | 122 B | 4.12 kB | 84 B | 2.06 kB |",
    ]


def test_unequal_local_work_is_a_column_and_a_line(tmp_path: Path) -> None:
    """Ditto(epochs=1, personal_epochs=5) takes 6 passes, FedPer(epochs=1) one; where all take one, there is no line."""
    for name, own in (
        ("Ditto", {"epochs": 1, "personal_epochs": 5}),
        ("FedPer", {"epochs": 1}),
        ("Local", {"epochs": 1}),
    ):
        write_run(tmp_path / name, {"name": name, **own}, {"digit": [0.0, 0.5]})
    found = tabulate(group_runs([read_run(tmp_path / name) for name in ("Ditto", "FedPer", "Local")]))
    text = markdown(found)
    assert "| Ditto | 1 | 6 | 0.500 |" in text and "| FedPer | 1 | 1 | 0.500 |" in text
    assert "a client takes 6 passes with Ditto; 1 pass with FedPer, Local." in text
    assert [record(row)["local_passes"] for row in found] == [6, 1, 1]
    assert "Local work" not in markdown(found[1:])


def test_unequal_batches_are_local_work_too(tmp_path: Path) -> None:
    for size in (4, 8):
        write_run(tmp_path / str(size), {"name": "FedPer", "epochs": 1}, {"digit": [0.0, 0.5]}, batch_size=size)
    text = markdown(tabulate(group_runs([read_run(tmp_path / str(size)) for size in (4, 8)])))
    assert "1 pass in batches of 4 with" in text and "1 pass in batches of 8 with" in text


def test_markdown_says_what_is_not_finished_and_escapes_its_own_signs(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, [0.6, 0.8], summary=False)
    text = markdown([row])
    assert "| FedPer | 0 of 2 seeds · 2 unfinished (round 2 of 2) | 5 | – | – | – | – | – | – | – |" in text
    odd = tabulate(group_runs([read_run(write_run(tmp_path / "c", {"name": "A|B"}, {"digit": [0.5]}))]))
    assert "| A\\|B |" in markdown(odd)


def test_with_many_tasks_markdown_has_the_mean_and_the_csv_all(tmp_path: Path) -> None:
    scores = {f"t{i}": [0.5] for i in range(MAX_COLUMNS + 1)}
    many = tabulate(group_runs([read_run(write_run(tmp_path / "a", FEDPER, scores))]))
    assert "accuracy" not in markdown(many)
    assert f"t{MAX_COLUMNS}_accuracy_mean" in to_csv(many)


def test_problems_have_tables_of_their_own(tmp_path: Path) -> None:
    found = [
        read_run(write_run(tmp_path / name, FEDPER, {task: [0.5]}, data={"name": name, "clients": 2}))
        for name, task in (("Watch", "gait"), ("Digits", "digit"))
    ]
    text = markdown(tabulate(group_runs(found)))
    digits, watch = text.index("**Digits(clients=2)**"), text.index("**Watch(clients=2)**")
    assert digits < text.index("digit: accuracy") < watch < text.index("gait: accuracy")


def test_csv_and_json_have_exact_bytes_and_numbers_in_full(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, [0.6, 0.7, 0.8], target=0.5)
    (line,) = csv.DictReader(io.StringIO(to_csv([row])))
    assert line["label"] == "FedPer(lr=0.1) / Dense()"
    assert line["train_up_bytes"] == "124"
    assert line["train_bytes"] == "4124"
    assert line["bytes_to_target"] == ""
    assert line["target_reached_by_seeds"] == "2"
    assert float(line["slant_rmse_ci95"]) == pytest.approx(0.05 * T2 / sqrt(3), rel=1e-9)
    assert json.loads(json.dumps(record(row)))["evaluate_bytes"] == 84


def test_csv_leaves_empty_what_a_row_does_not_have(tmp_path: Path) -> None:
    found = [read_run(write_run(tmp_path / task, FEDPER, {task: [0.5]}, data={"name": task})) for task in ("a", "b")]
    lines = list(csv.DictReader(io.StringIO(to_csv(tabulate(group_runs(found))))))
    assert [(line["a_accuracy_mean"], line["b_accuracy_mean"]) for line in lines] == [("0.5", ""), ("", "0.5")]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (1234, "1.23 kB"), (12_345, "12.3 kB"), (999_400, "999 kB"),
        (999_600, "1.00 MB"), (9_996, "10.0 kB"), (45_600_000, "45.6 MB"), (7.5e9, "7.50 GB"), (2e15, "2000 TB"),
    ],
)  # fmt: skip
def test_human_bytes(count: float, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Estimate(0.8123, 0.0044), "0.812 ± 0.004"), (Estimate(0.0, None), "0.000"), (Estimate(-0.25, None), "-0.250"),
        (Estimate(12.3456, 0.04), "12.346 ± 0.040"), (Estimate(1234.4, 20.4), "1234 ± 20"),
        (Estimate(0.000123456, None), "0.0001235"), (Estimate(float("nan"), None), "–"),
    ],
)  # fmt: skip
def test_human_estimate(value: Estimate, text: str) -> None:
    assert human_estimate(value) == text
