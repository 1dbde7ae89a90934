"""Should I federate? Gains over Local worked by hand.

With two seeds, mean m and differences d, the half width of the interval is t |d₁ − d₂| / 2, t = tan(0.475 π) = 12.706.
"""

from math import pi, tan
from pathlib import Path
from typing import Any

import pytest

from fedmtl.report import write_report
from fedmtl.study import Gain, gains, gains_markdown, group_runs, read_run
from tests.study.run_folders import write_run

T1 = tan(pi * 0.475)


def gain(folder: Path, ours: list[dict[str, float]], local: list[dict[str, float]], **settings: Any) -> Gain:
    """Of one experiment, over seeds 0, 1, …: task -> value at the end."""
    made = []
    for name, runs in (("FedPer", ours), ("Local", local)):
        for seed, ends in enumerate(runs):
            scores = {task: [0.0, end] for task, end in ends.items()}
            made.append(write_run(folder / f"{name}-{seed}", {"name": name}, scores, seed=seed, **settings))
    (found,) = gains(group_runs(map(read_run, made)))
    return found


def test_gains_are_per_cent_of_local_and_paired_by_seed(tmp_path: Path) -> None:
    """a: 0.6 over 0.5 is +20 %, 0.66 over 0.6 +10 %; b: 0.8 over 0.8 twice, 0. Mean over tasks +10 and +5 %.

    a: 15 ± t·5, b: 0 ± 0, Δm: 7.5 ± t·2.5.
    """
    found = gain(tmp_path, [{"a": 0.6, "b": 0.8}, {"a": 0.66, "b": 0.8}], [{"a": 0.5, "b": 0.8}, {"a": 0.6, "b": 0.8}])
    assert found.tasks["a"] == pytest.approx((15, 15 - 5 * T1, 15 + 5 * T1))
    assert found.tasks["b"] == pytest.approx((0, 0, 0))
    assert found.mean == pytest.approx((7.5, 7.5 - 2.5 * T1, 7.5 + 2.5 * T1))
    assert found.seeds == (0, 1) and found.baseline == "Local"
    assert found.verdict.startswith("undecided")


def test_where_lower_is_better_less_is_a_gain(tmp_path: Path) -> None:
    """An error of 0.2 over Local's 0.4: −50 % error is a gain of 50 %. Values are 1 − score."""
    found = gain(tmp_path, [{"e": 0.8}] * 2, [{"e": 0.6}] * 2, metrics={"e": ("mse", False)})
    assert found.tasks["e"] == pytest.approx((50, 50, 50))
    assert found.verdict == "federate" and found.losing == []


def test_tasks_that_lose_are_named_the_worst_first(tmp_path: Path) -> None:
    """+100 %, −10 % and −20 % on every seed: Δm = +23.3 %, and two tasks had better stay alone."""
    ours, local = {"good": 0.8, "bad": 0.45, "worse": 0.4}, {"good": 0.4, "bad": 0.5, "worse": 0.5}
    found = gain(tmp_path, [ours] * 3, [local] * 3)
    assert found.losing == ["worse", "bad"]
    assert found.verdict == "federate, but leave out worse, bad"
    text = gains_markdown([found])
    assert "+23.3 % [+23.3, +23.3]" in text and "good +100.0 %" in text and "worse −20.0 %" in text


@pytest.mark.parametrize(
    ("ours", "seeds", "verdict"),
    [(0.4, 2, "do not federate"), (0.6, 1, "no verdict: one seed"), (float("nan"), 2, "no verdict: one of them")],
)
def test_other_verdicts(tmp_path: Path, ours: float, seeds: int, verdict: str) -> None:
    assert gain(tmp_path, [{"a": ours}] * seeds, [{"a": 0.5}] * seeds).verdict.startswith(verdict)


def test_nothing_is_relative_to_zero(tmp_path: Path) -> None:
    assert gain(tmp_path, [{"a": 0.5}] * 2, [{"a": 0.0}] * 2).verdict.startswith("no verdict")


def test_the_worst_tenth_of_clients(tmp_path: Path) -> None:
    """20 clients, client i scores 0.01 i below the mean: the worst two lie 0.185 below it, with Local too."""
    found = gain(tmp_path, [{"a": 0.7}] * 2, [{"a": 0.6}] * 2, clients=range(20), client_offset=0.01)
    assert found.worst_tenth == pytest.approx((0.1, 0.1, 0.1))


def test_the_worst_tenth_is_rounded_up_in_reports_and_summaries(tmp_path: Path) -> None:
    """25 clients: the worst 3. Client i scores 0.01 i below the mean in the first, 0.02 i in Local's: the mean of the
    three is 0.23 and 0.46 below, so 0.23 apart at equal means. A count rounded down would give 0.235."""
    ours = write_run(tmp_path / "a", {"name": "FedPer"}, {"a": [0, 0.6]}, clients=range(25), client_offset=0.01)
    alone = write_run(tmp_path / "b", {"name": "Local"}, {"a": [0, 0.6]}, clients=range(25), client_offset=0.02)
    (found,) = gains(group_runs(map(read_run, (ours, alone))))
    assert found.worst_tenth.mean == pytest.approx(0.23)


def test_without_local_there_is_no_gain(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, {"name": name}, {"a": [0.0, 0.5]}) for name in ("FedPer", "FedAvg")]
    assert gains(group_runs(map(read_run, runs))) == []


def test_the_report_answers(tmp_path: Path) -> None:
    for name, end in (("FedPer", 0.75), ("Local", 0.5)):
        for seed in (0, 1):
            write_run(tmp_path / f"{name}-{seed}", {"name": name}, {"a": [0.0, end]}, seed=seed)
    write_report([tmp_path], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "### Should I federate?" in text and "| FedPer | +50.0 % [+50.0, +50.0] |" in text
