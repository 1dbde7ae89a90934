"""The picture of a search's trials: its numbers, marks and steps."""

import csv

import numpy as np

from fedmtl.analysis.report.trials import TrialPoint, trial_picture


def test_marks_and_steps_of_two_costs() -> None:
    """By bytes, 0 and 1 are a line of their own; by seconds 2 is better than both, so that the front of all three
    objectives has all of them. Trial 3 is worse than 1 in everything, and 4 costs nothing, which is a level line."""
    points = [
        TrialPoint("0", 0.5, (100, 9.0), True),
        TrialPoint("1", 0.7, (400, 5.0), True),
        TrialPoint("2", 0.6, (900, 1.0), True),
        TrialPoint("3", 0.4, (950, 6.0), False),
        TrialPoint("4", 0.1, (0, 0.0), True),
    ]
    picture = trial_picture(points, ("bytes", "seconds"))
    assert picture is not None
    panels = picture.figure.axes
    assert [axes.get_xlabel() for axes in panels] == ["training bytes, both directions", "simulated seconds"]
    assert panels[0].get_ylabel() == "mean score over tasks, validation parts"
    for place, axes in enumerate(panels):
        marks = [one for one in axes.lines if one.get_marker() == "o"]
        drawn = {(x, y): one.get_fillstyle() for one in marks for x, y in np.asarray(one.get_xydata()).tolist()}
        assert drawn == {(own.costs[place], own.score): "full" if own.front else "none" for own in points[:4]}
        left, right = axes.get_xlim()
        (steps,) = [one for one in axes.lines if one.get_gid() == "pareto"]
        expected = [
            [(left, 0.1), (100, 0.5), (400, 0.7), (right, 0.7)],
            [(left, 0.1), (1, 0.6), (5, 0.7), (right, 0.7)],
        ]
        assert np.asarray(steps.get_xydata()).tolist() == [list(pair) for pair in expected[place]]
    assert {"0", "1", "2", "4, 0"} <= {text.get_text() for text in picture.figure.texts}
    made = picture.files()
    assert set(made) == {f"tradeoff.{kind}" for kind in ("png", "pdf", "svg", "csv")}
    rows = list(csv.DictReader(made["tradeoff.csv"].decode().splitlines()))
    assert rows[3] == {
        "trial": "3", "score": "0.4", "train_bytes": "950", "simulated_seconds": "6", "front": "0"
    }  # fmt: skip


def test_nothing_is_drawn_where_nothing_costs() -> None:
    assert trial_picture([TrialPoint("0", 0.5, (0,), True)], ("bytes",)) is None
    assert trial_picture([], ("bytes",)) is None
