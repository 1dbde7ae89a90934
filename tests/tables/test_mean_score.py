"""The mean score over tasks: one function for a run as it grows and for the reports of finished runs."""

import math

import pytest

from fedmtl import Experiment, load_run, run
from fedmtl.data.synthetic import Synthetic
from fedmtl.tables.mean_score import mean_score, mean_score_of


def test_it_is_the_mean_over_tasks() -> None:
    assert mean_score([0.5, 0.25, 0.75]) == 0.5
    assert mean_score([-2.0]) == -2.0


@pytest.mark.parametrize("scores", [[], [0.5, None], [0.5, math.nan], [math.inf], [None]])
def test_no_score_and_a_diverged_task_have_no_mean(scores: list[float | None]) -> None:
    assert math.isnan(mean_score(scores))


def test_a_task_without_a_labelled_example_does_not_count() -> None:
    rows = [{"score": 0.5, "examples": 3}, {"score": None, "examples": 0}]
    assert mean_score_of(rows) == 0.5
    assert math.isnan(mean_score_of([{"score": None, "examples": 3}, rows[0]]))


def test_a_run_and_its_report_have_the_same(tmp_path: object) -> None:
    folder = f"{tmp_path}/run"
    data = Synthetic(clients=4, tasks=3)
    result = run(Experiment(data=data, algorithm="FedPer", rounds=2, runtime="InProcess"), folder)
    assert load_run(folder).score() == result.summary["mean_score"]
