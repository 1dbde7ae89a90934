"""Should I federate? Gains over Local worked by hand.

With three seeds and differences of standard deviation s, half the width of the interval is t s / √3, t = 4.303.
"""

from math import isnan, nan, sqrt
from pathlib import Path
from typing import Any

import pytest

from fedmtl.analysis import Gain, gains, gains_markdown, group_runs, read_run, verdicts
from fedmtl.analysis.report import write_report
from tests.analysis.run_folders import write_run

T2 = (2 * 0.975 - 1) / sqrt(2 * 0.975 * (1 - 0.975))


def gain(folder: Path, ours: list[dict[str, float]], local: list[dict[str, float]], **settings: Any) -> Gain:
    """Of one experiment, over seeds 0, 1, …: task -> value at the end."""
    made = []
    for name, runs in (("FedPer", ours), ("Local", local)):
        for seed, ends in enumerate(runs):
            scores = {task: [0.0, end] for task, end in ends.items()}
            made.append(write_run(folder / f"{name}-{seed}", {"name": name}, scores, seed=seed, **settings))
    (found,) = gains(group_runs(map(read_run, made)))
    return found


def test_gains_are_differences_of_scores_paired_by_seed(tmp_path: Path) -> None:
    """a: +0.1, +0.2, +0.3 (mean 0.2, s = 0.1); b: 0 each time. Mean over tasks +0.05, +0.1, +0.15: 0.1, s = 0.05."""
    local = [{"a": 0.5, "b": 0.8}, {"a": 0.6, "b": 0.8}, {"a": 0.4, "b": 0.8}]
    found = gain(tmp_path, [{"a": 0.6, "b": 0.8}, {"a": 0.8, "b": 0.8}, {"a": 0.7, "b": 0.8}], local)
    half = T2 * 0.1 / sqrt(3)
    assert found.tasks["a"] == pytest.approx((0.2, half))
    assert found.tasks["b"] == (0, 0)
    assert found.mean[:3] == pytest.approx((0.1, 0.1 - half / 2, 0.1 + half / 2))
    assert found.seeds == (0, 1, 2) and found.baseline == "Local"
    assert found.verdict.startswith("undecided")


def test_the_gain_and_the_difference_are_one_number(tmp_path: Path) -> None:
    """Relative gains would turn the verdict here: −0.1 of 0.1 is −100 %, +0.3 of 0.6 is +50 %: −25 %, but +0.1."""
    for seed in range(3):
        for name, ends in (("FedPer", (0.0, 0.9)), ("Local", (0.1, 0.6))):
            scores = {task: [0.0, end] for task, end in zip("ab", ends, strict=True)}
            write_run(tmp_path / f"{name}-{seed}", {"name": name}, scores, seed=seed)
    groups = group_runs(map(read_run, sorted(tmp_path.iterdir())))
    (found,) = gains(groups)
    assert found.relative == pytest.approx(-25)
    assert found.verdict == "federate, but leave out a"
    (line,) = verdicts(groups)
    assert line.startswith("FedPer − Local: +0.100 [+0.100, +0.100]")
    assert "| FedPer | +0.100 [+0.100, +0.100] |" in gains_markdown([found])


def test_where_lower_is_better_less_is_a_gain(tmp_path: Path) -> None:
    """An error of 0.2 over Local's 0.4: 0.2 less, and 50 % of it. Values are 1 − score."""
    found = gain(tmp_path, [{"e": 0.8}] * 3, [{"e": 0.6}] * 3, metrics={"e": ("mse", False)})
    assert found.tasks["e"] == pytest.approx((0.2, 0), abs=1e-12)
    assert found.relative == pytest.approx(50)
    assert found.verdict == "federate" and found.losing == []


def test_tasks_that_lose_are_named_the_worst_first(tmp_path: Path) -> None:
    """+0.4, −0.05 and −0.1 on every seed: +0.083 in the mean, and two tasks had better stay alone."""
    ours, local = {"good": 0.8, "bad": 0.45, "worse": 0.4}, {"good": 0.4, "bad": 0.5, "worse": 0.5}
    found = gain(tmp_path, [ours] * 3, [local] * 3)
    assert found.losing == ["worse", "bad"]
    assert found.verdict == "federate, but leave out worse, bad"
    text = gains_markdown([found])
    assert "+0.083 [+0.083, +0.083]" in text and "good +0.400" in text and "worse −0.100" in text


@pytest.mark.parametrize(
    ("ours", "seeds", "verdict"),
    [
        (0.4, 3, "do not federate"),
        (0.6, 1, "no verdict: 1 seed is too few for an interval: 5 would do"),
        (0.6, 2, "no verdict: 2 seeds are too few for an interval: 5 would do"),
    ],
)
def test_other_verdicts(tmp_path: Path, ours: float, seeds: int, verdict: str) -> None:
    assert gain(tmp_path, [{"a": ours}] * seeds, [{"a": 0.5}] * seeds).verdict.startswith(verdict)


def test_a_run_that_diverged_is_in_no_gain(tmp_path: Path) -> None:
    found = gain(tmp_path, [{"a": 0.6}, {"a": nan}, {"a": 0.6}, {"a": -575.0}], [{"a": 0.5}] * 4)
    assert found.seeds == (0, 2) and found.mean.mean == pytest.approx(0.1)


def test_nothing_is_relative_to_zero(tmp_path: Path) -> None:
    found = gain(tmp_path, [{"a": 0.5}] * 3, [{"a": 0.0}] * 3)
    assert isnan(found.relative) and found.verdict == "federate"


def test_the_worst_tenth_of_clients(tmp_path: Path) -> None:
    """20 clients, client i scores 0.01 i below the mean: the worst two lie 0.185 below it, with Local too."""
    found = gain(tmp_path, [{"a": 0.7}] * 3, [{"a": 0.6}] * 3, clients=range(20), client_offset=0.01)
    assert found.worst_tenth == pytest.approx((0.1, 0), abs=1e-12)


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
        for seed in (0, 1, 2):
            write_run(tmp_path / f"{name}-{seed}", {"name": name}, {"a": [0.0, end]}, seed=seed)
    write_report([tmp_path], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "### Should I federate?" in text and "| FedPer | +0.250 [+0.250, +0.250] |" in text
