"""Curves and bytes of one run. Two clients receive 70 and send 30 bytes a round: a round costs 200 bytes."""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from fedmtl.analysis import Run, read_run
from fedmtl.runs.run_failure import Failure, write_failure
from tests.analysis.run_folders import row, transfer, write_run

FEDPER = {"name": "FedPer", "lr": 0.1}


def toy(folder: Path, scores: Mapping[str, Sequence[float | None]], **settings: Any) -> Run:
    return read_run(write_run(folder / "run", FEDPER, scores, up=30, down=70, evaluate=1000, **settings))


def test_a_curve_has_the_training_bytes_up_to_each_round_and_none_at_round_0(tmp_path: Path) -> None:
    run = toy(tmp_path, {"digit": [0.1, 0.5, 0.7]})
    assert run.curve("digit") == ([0, 1, 2], [0, 200, 400], [0.1, 0.5, 0.7])


def test_rounds_that_were_not_evaluated_cost_bytes_all_the_same(tmp_path: Path) -> None:
    run = toy(tmp_path, {"digit": [0.1, 0.5, 0.7, 0.75, 0.8]}, every=2)
    assert run.curve("digit") == ([0, 2, 4], [0, 400, 800], [0.1, 0.7, 0.8])


def test_the_curve_is_in_the_metric_s_unit_and_the_mean_score_in_scores(tmp_path: Path) -> None:
    """rmse is 1 - score in the toy: 0.75 and 0.25. Mean scores: (0.5 + 0.25) / 2 and (1 + 0.75) / 2."""
    run = toy(tmp_path, {"digit": [0.5, 1.0], "slant": [0.25, 0.75]}, metrics={"slant": ("rmse", False)})
    assert run.curve("slant").values == [0.75, 0.25]
    assert run.mean_score_curve() == ([0, 1], [0, 200], [0.375, 0.875])
    assert run.score() == 0.875
    assert run.value("slant") == 0.25
    assert run.metrics["slant"] == ("rmse", False)


def test_bytes_by_direction_and_purpose(tmp_path: Path) -> None:
    """Two rounds, two clients; evaluation requests them after rounds 0, 1, 2 with 1000 bytes either way."""
    run = toy(tmp_path, {"digit": [0.1, 0.5, 0.7]})
    assert (run.training_bytes("down"), run.training_bytes("up"), run.training_bytes()) == (280, 120, 400)
    assert run.evaluation_bytes() == 3 * 2 * 2 * 1000


@pytest.mark.parametrize("gathered_in", [0, 1])
def test_raw_data_that_was_gathered_is_a_price_of_training_but_not_of_the_initial_model(
    tmp_path: Path, gathered_in: int
) -> None:
    run = toy(tmp_path, {"digit": [0.1, 0.5, 0.7]})
    run.transfers.append(transfer(gathered_in, 0, "up", "raw_data", 5000))
    assert run.curve("digit").bytes == [0, 5200, 5400]
    assert run.training_bytes() == 5400


def test_bytes_to_a_score_are_those_of_the_first_round_that_has_it(tmp_path: Path) -> None:
    run = toy(tmp_path, {"digit": [0.1, 0.5, 0.7, 0.6, 0.8]})
    assert run.bytes_to(0.1) == 0
    assert run.bytes_to(0.7) == 400
    assert run.bytes_to(0.71) == 800
    assert run.bytes_to(0.9) is None


def test_a_task_without_labels_is_left_out_of_the_mean(tmp_path: Path) -> None:
    run = toy(tmp_path, {"digit": [0.5, 0.75], "parity": [None, None]})
    assert run.mean_score_curve().values == [0.5, 0.75]
    assert isnan(run.value("parity"))


@pytest.mark.parametrize("diverged", [None, float("nan"), float("-inf")])
def test_a_task_that_diverged_takes_the_mean_with_it(tmp_path: Path, diverged: float | None) -> None:
    run = toy(tmp_path, {"digit": [0.5, 0.75], "parity": [0.5, 0.5]})
    for measured in run.rows:
        if measured["task"] == "parity" and measured["round"] == 1:
            measured |= {"score": diverged, "value": diverged}
    first, last = run.mean_score_curve().values
    assert first == 0.5
    assert isnan(last)
    assert run.bytes_to(0.6) is None


def test_a_round_of_which_only_some_tasks_were_written_does_not_count(tmp_path: Path) -> None:
    run = toy(tmp_path, {"digit": [0.1, 0.5], "parity": [0.1, 0.5]})
    run.rows.append(row(2, None, "digit", 0.9, ("accuracy", True)))
    assert run.rounds == [0, 1]
    assert run.score() == 0.5


def test_client_scores_are_means_over_own_tasks_at_the_last_round(tmp_path: Path) -> None:
    """Client 0 scores as all clients do, (0.5 + 0.75) / 2, client 1 scores 0.25 less. Client 2 has no label."""
    run = toy(tmp_path, {"digit": [0.0, 0.5], "parity": [0.0, 0.75]}, client_offset=0.25)
    run.rows.append(row(1, 2, "digit", None, ("accuracy", True)))
    assert run.client_scores() == {0: 0.625, 1: 0.375}


def test_a_run_is_finished_when_its_last_round_and_its_summary_are_there(tmp_path: Path) -> None:
    scores = {"digit": [0.1, 0.5]}
    assert toy(tmp_path / "whole", scores).finished
    assert not toy(tmp_path / "killed", scores, summary=False).finished
    extended = toy(tmp_path / "extended", scores)
    extended.experiment["rounds"] = 5
    assert not extended.finished


def test_with_validation_parts_curves_are_of_these_and_the_result_is_the_best_round_s_on_the_test_part(
    tmp_path: Path,
) -> None:
    """Validation .1, .6, .5: round 1 is the best, stopped at 2 of 9. Tested once: .4 over all, .3 at client 1."""
    run = toy(tmp_path, {"digit": [0.1, 0.6, 0.5]})
    run.rows[:] = [measured | {"part": "valid"} for measured in run.rows]
    run.experiment["rounds"] = 9
    assert not run.finished
    assert (run.score(), run.final_round, run.final_part) == (0.5, 2, "valid")  # so far
    run = Run(run.folder, run.experiment, list(run.rows), run.transfers, run.summary | {"stopped": {}})
    accuracy = ("accuracy", True)
    run.rows.extend(row(1, client, "digit", score, accuracy) for client, score in ((0, 0.4), (1, 0.3), (None, 0.4)))
    assert run.finished
    assert run.curve("digit").values == run.mean_score_curve().values == [0.1, 0.6, 0.5]
    assert (run.curve_part, run.final_part, run.final_round, run.last_round) == ("valid", "test", 1, 2)
    assert (run.score(), run.value("digit"), run.client_scores()) == (0.4, 0.4, {0: 0.4, 1: 0.3})
    run.rows[8] |= {"value": float("nan"), "score": float("nan")}  # round 2, over all: the best round is kept
    assert run.rows[8]["round"] == 2 and run.rows[8]["client"] is None and run.failure is None


def test_a_run_that_counts_has_no_failure_and_others_say_which(tmp_path: Path) -> None:
    scores = {"digit": [0.1, 0.5, 0.7]}
    assert toy(tmp_path / "whole", scores).failure is None
    killed = toy(tmp_path / "killed", scores, summary=False)
    assert killed.failure == Failure("unfinished", 2, "it was ended, or goes on")


@pytest.mark.parametrize("number", [None, float("nan"), float("inf")])
def test_a_labelled_task_without_a_finite_metric_has_diverged_from_the_first_such_round_on(
    tmp_path: Path, number: float | None
) -> None:
    """Rounds 2 and 3; round 1 alone would not count, because the run came back from it."""
    run = toy(tmp_path, {"digit": [0.1, 0.5, 0.6, 0.7], "parity": [None] * 4})
    for measured in run.rows:
        if measured["client"] is None and measured["task"] == "digit" and measured["round"] != 0:
            measured |= {"score": number, "value": number} if measured["round"] >= 2 else {}
    assert run.failure == Failure("diverged", 2, "accuracy of task digit is not finite")


def test_a_run_that_came_back_has_not_diverged(tmp_path: Path) -> None:
    run = toy(tmp_path, {"digit": [0.1, float("nan"), 0.7]})
    assert run.failure is None


@pytest.mark.parametrize(
    ("scores", "exploded"),
    [
        ([0.0, 0.5, -3.0, -575.0], 3),
        ([0.0, -40.0, -575.0, -20.0], 1),
        ([0.0, -575.0, -575.0, 0.2], None),  # it came back
        ([-624.0, -600.0, -300.0, -100.0], None),  # it began further off, and learns
        ([0.0, -1.0, -2.0, -8.9], None),  # bad, and finite: squared errors 9.9 times those of a constant
    ],
)
def test_a_score_of_minus_nine_that_was_better_untrained_has_exploded(
    tmp_path: Path, scores: list[float], exploded: int | None
) -> None:
    failure = toy(tmp_path, {"slant": scores}, metrics={"slant": ("rmse", False)}).failure
    assert (None if failure is None else (failure.state, failure.round)) == (exploded and ("diverged", exploded))


def test_what_ended_a_run_is_in_its_folder(tmp_path: Path) -> None:
    run = toy(tmp_path, {"digit": [0.1, 0.5]}, summary=False)
    write_failure(run.folder, Failure("diverged", 12, "its update is not finite"))
    assert read_run(run.folder).failure == Failure("diverged", 12, "its update is not finite")
    for text in ("[]", '{"state": "odd", "round": 1, "reason": ""}', '{"state": "failed", "round": -1, "reason": ""}'):
        (run.folder / "failure.json").write_text(text)
        with pytest.raises(ValueError, match="failure.json' is not what a run writes"):
            read_run(run.folder)


def test_a_run_killed_before_its_first_measurement_has_no_score(tmp_path: Path) -> None:
    run = toy(tmp_path, {"digit": [0.1, 0.5]}, summary=False)
    run.rows.clear()
    assert run.last_round is None
    assert isnan(run.score())
    assert run.client_scores() == {}
    assert not run.finished


def test_an_unknown_task_is_an_error_that_names_the_tasks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['digit'\], got 'cat'"):
        toy(tmp_path, {"digit": [0.1]}).curve("cat")
