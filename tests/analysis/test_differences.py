"""Paired differences against intervals computed by hand.

Student's t has a closed quantile for two degrees of freedom, t_p = (2p - 1) / √(2 p (1 - p)): 4.303 with p = 0.975.
"""

from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from fedmtl.analysis import Run, group_runs, paired_difference, read_run, verdicts
from tests.analysis.run_folders import write_run

P = 0.975
T2 = (2 * P - 1) / sqrt(2 * P * (1 - P))


def runs(folder: Path, name: str, finals: dict[int, float], **settings: Any) -> list[Run]:
    """Runs of one round that end at a score, one for each seed."""
    made = []
    for seed, final in finals.items():
        path = folder / "-".join(map(str, (name, seed, *settings.values())))
        made.append(write_run(path, {"name": name, "lr": 0.1}, {"digit": [0.0, final]}, seed=seed, **settings))
    return [read_run(path) for path in made]


def test_three_seeds(tmp_path: Path) -> None:
    """Differences 0.1, 0.2, 0.3: mean 0.2, std 0.1, half width t · 0.1 / √3."""
    a = runs(tmp_path, "FedPer", {0: 0.6, 1: 0.8, 2: 0.9})
    b = runs(tmp_path, "Local", {0: 0.5, 1: 0.6, 2: 0.6})
    mean, low, high, seeds = paired_difference(a, b)
    half = T2 * 0.1 / sqrt(3)
    assert (mean, low, high) == pytest.approx((0.2, 0.2 - half, 0.2 + half), abs=1e-9)
    assert seeds == (0, 1, 2)


def test_only_common_seeds_count_and_their_order_does_not(tmp_path: Path) -> None:
    """Common are 1, 5 and 6. Differences 0.2, 0.4 and 0.3: mean 0.3, std 0.1, half width t · 0.1 / √3."""
    a = runs(tmp_path, "FedPer", {5: 0.9, 0: 0.1, 6: 0.4, 1: 0.8})
    b = runs(tmp_path, "Local", {1: 0.6, 5: 0.5, 7: 0.9, 6: 0.1})
    mean, low, high, seeds = paired_difference(a, b)
    half = T2 * 0.1 / sqrt(3)
    assert (mean, low, high) == pytest.approx((0.3, 0.3 - half, 0.3 + half), abs=1e-9)
    assert seeds == (1, 5, 6)


def test_pairs_remove_what_seeds_share(tmp_path: Path) -> None:
    """Scores lie 0.4 apart from seed to seed, differences not at all: the interval has no width."""
    mean, low, high, _ = paired_difference(
        runs(tmp_path, "FedPer", {0: 0.25, 1: 0.5, 2: 0.75}), runs(tmp_path, "Local", {0: 0.125, 1: 0.375, 2: 0.625})
    )
    assert (mean, low, high) == (0.125, 0.125, 0.125)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_one_or_two_seeds_give_no_interval(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    a, b = (runs(tmp_path, name, dict.fromkeys(seeds, end)) for name, end in (("FedPer", 0.75), ("Local", 0.5)))
    assert paired_difference(a, b) == (0.25, None, None, seeds)


def test_no_common_seed_is_an_error_that_names_the_seeds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[0\] and \[1\]"):
        paired_difference(runs(tmp_path, "FedPer", {0: 0.75}), runs(tmp_path, "Local", {1: 0.5}))


def test_a_run_that_has_not_ended_is_no_pair(tmp_path: Path) -> None:
    a = runs(tmp_path, "FedPer", {0: 0.75}) + runs(tmp_path, "FedPer", {1: 0.9}, summary=False)
    assert paired_difference(a, runs(tmp_path, "Local", {0: 0.5, 1: 0.5})).seeds == (0,)


def test_a_verdict_in_words(tmp_path: Path) -> None:
    """As in three seeds: 0.2 ± 4.3027 · 0.1 / √3 = 0.2 ± 0.2484."""
    every = runs(tmp_path, "FedPer", {0: 0.6, 1: 0.8, 2: 0.9}) + runs(tmp_path, "Local", {0: 0.5, 1: 0.6, 2: 0.6})
    assert verdicts(group_runs(every)) == [
        "FedPer − Local: +0.200 [−0.048, +0.448] over 3 seeds (mean score over tasks; interval 95 %, paired t)"
    ]


def test_verdicts_without_an_interval_say_why(tmp_path: Path) -> None:
    every = runs(tmp_path, "FedPer", {0: 0.75, 1: 0.75}) + runs(tmp_path, "Local", {0: 0.5, 1: 0.5})
    every += runs(tmp_path, "FedRep", {2: 0.75}) + runs(tmp_path, "Ditto", {0: float("nan"), 1: 0.5})
    assert verdicts(group_runs(every)) == [
        "Ditto − Local: +0.000 over 1 seed (mean score over tasks; 1 seed is too few for an interval: 5 would do)",
        "FedPer − Local: +0.250 over 2 seeds (mean score over tasks; 2 seeds are too few for an interval: 5 would do)",
        "FedRep − Local: no seed that both have finished",
    ]


def test_a_pair_of_which_one_has_diverged_everywhere_has_no_number(tmp_path: Path) -> None:
    every = runs(tmp_path, "FedPer", {0: float("nan")}) + runs(tmp_path, "Local", {0: 0.5})
    line = "FedPer − Local: no seed that both have finished (FedPer: 0 of 1 seed · 1 diverged at round 1)"
    assert verdicts(group_runs(every)) == [line]


def names(lines: list[str]) -> list[str]:
    return [line.split(":")[0] for line in lines]


def test_by_default_dense_meets_local_and_fedavg_and_compression_meets_dense(tmp_path: Path) -> None:
    every = [run for name in ("FedPer", "Local", "FedAvg") for run in runs(tmp_path, name, {0: 0.5})]
    every += runs(tmp_path, "FedPer", {0: 0.5}, up_codec={"name": "FP16"})
    assert names(verdicts(group_runs(every))) == [
        "FedAvg − Local", "FedPer − Local", "FedPer − FedAvg", "FedPer · FP16 ↑ − FedPer",
    ]  # fmt: skip


def test_a_baseline_with_the_same_settings_is_preferred(tmp_path: Path) -> None:
    every = []
    for name, size in product(("FedPer", "Local"), (4, 8)):
        every += runs(tmp_path, name, {0: 0.5}, batch_size=size)
    assert names(verdicts(group_runs(every))) == [
        "FedPer [batch_size=4] − Local [batch_size=4]",
        "FedPer [batch_size=8] − Local [batch_size=8]",
    ]


def test_runs_on_different_data_are_not_compared(tmp_path: Path) -> None:
    every = runs(tmp_path, "FedPer", {0: 0.5}) + runs(tmp_path, "Local", {0: 0.5}, data={"name": "Other"})
    assert verdicts(group_runs(every)) == []
    every += runs(tmp_path, "FedPer", {0: 0.75}, data={"name": "Other"})
    assert verdicts(group_runs(every))[0].startswith("Other(): FedPer − Local: +0.250")


def test_pairs_can_be_chosen_and_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    groups = group_runs(runs(tmp_path, "FedPer", {0: 0.5}) + runs(tmp_path, "FedRep", {0: 0.75}))
    assert verdicts(groups, [("FedRep", "FedPer")])[0].startswith("FedRep − FedPer: +0.250")
    with pytest.raises(ValueError, match=r"No group is named 'Ditto'; the names are \['FedPer', 'FedRep'\]"):
        verdicts(groups, [("Ditto", "FedPer")])
