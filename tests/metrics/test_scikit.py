"""Metrics of 400 random cases are scikit-learn's, from sums split over clients; areas are within their bounds."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedmtl.metrics.kinds import kind_of
from fedmtl.tasks import Binary, MultiClass, Task
from tests.metrics.cases import by_scikit, case, measured

CASES = 400


def sums_of(task: Task, output: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return task.sums(torch.tensor(output), torch.tensor(y), torch.ones(len(y))).numpy()[None]


@pytest.mark.parametrize("part", range(8))
def test_metrics_are_scikit_learns(part: int) -> None:
    """To 1e-9 where no error is stated, and within the stated one elsewhere; NaN where scikit-learn gives NaN. Of one
    client, and of three."""
    for seed in range(part, CASES, 8):
        task, output, y = case(seed)
        sums, expected = sums_of(task, output, y), by_scikit(task, output, y)
        for clients in (1, 3):
            found, _ = measured(task, output, y, sums, clients, seed)
            for name, wanted in expected.items():
                error = np.nan_to_num(found.get(f"{name}_error", 0.0))
                about = f"case {seed} of {clients}, {task}: {name} is {found[name]}, not {wanted}, with {error}"
                assert np.isnan(found[name]) == np.isnan(wanted), about
                if np.isfinite(wanted):
                    assert abs(found[name] - wanted) <= error + 1e-9 * max(1.0, abs(wanted)), about


def test_each_kind_of_case_is_among_them() -> None:
    """So that the test above says something: ties, one class, one example, missing labels, outputs that are none."""
    cases = [case(seed) for seed in range(CASES)]
    assert sum(len(y) == 1 for _, _, y in cases) > 20
    assert sum(bool(np.isnan(y).any()) for _, _, y in cases) > 80
    assert sum(not np.isfinite(output).all() for _, output, _ in cases) > 40
    assert sum(len(np.unique(y[~np.isnan(y)])) == 1 for _, _, y in cases) > 40
    assert sum(len(y) > 9 and len(np.unique(output)) < output.size // 2 for _, output, y in cases) > 30


def test_areas_are_exact_where_bins_hold_one_example_each() -> None:
    """Logits a tenth apart: 0.1 > the bin's width near 0, asinh 32 / 512 = 0.008; and so the bound is 0."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 40).astype(np.float32)
    output = draw.permutation(np.arange(40) / 10 - 2).astype(np.float32)[:, None]
    found, _ = measured(Binary(), output, y, sums_of(Binary(), output, y))
    wanted = by_scikit(Binary(), output, y)
    assert found["auc_error"] == found["average_precision_error"] == 0
    assert found["auc"] == pytest.approx(wanted["auc"], abs=1e-12)
    assert found["average_precision"] == pytest.approx(wanted["average_precision"], abs=1e-12)


def test_the_bound_is_half_the_mass_of_tied_pairs() -> None:
    """All logits equal: AUC 1/2 ± 1/2. One of two positives alone on top, with two negatives below beside the other:
    of 4 pairs 2 are sure and 2 share a bin: 3/4 ± 1/4."""
    y = np.array([1, 1, 0, 0], np.float32)
    for logits, auc, error in (([1, 1, 1, 1], 0.5, 0.5), ([5, 1, 1, 1], 0.75, 0.25)):
        output = np.array(logits, np.float32)[:, None]
        found, _ = measured(Binary(), output, y, sums_of(Binary(), output, y))
        assert (found["auc"], found["auc_error"]) == (auc, error)


def test_many_logits_are_bounded_tightly() -> None:
    """10,000 normal logits of spread 3: bins are 0.02 wide there, so the bound is a few thousandths at most."""
    draw = np.random.default_rng(1)
    y = draw.integers(0, 2, 10_000).astype(np.float32)
    output = (3 * draw.standard_normal(10_000) + y)[:, None].astype(np.float32)
    found, _ = measured(Binary(), output, y, sums_of(Binary(), output, y))
    assert found["auc_error"] < 0.003 and found["average_precision_error"] < 0.003


def test_more_than_64_classes_are_not_ranked_and_all_else_is_there() -> None:
    draw = np.random.default_rng(2)
    task = MultiClass(1000)
    y, output = draw.integers(0, 1000, 50).astype(np.float32), draw.standard_normal((50, 1000)).astype(np.float32)
    output[np.arange(25), y[:25].astype(int)] += 9
    found, tally = measured(task, output, y, sums_of(task, output, y))
    wanted = by_scikit(MultiClass(1000), output, y)
    assert "auc" not in found and len(tally.cells) <= 50
    for name in ("loss", "balanced_accuracy", "macro_f1"):
        assert found[name] == pytest.approx(wanted[name], abs=1e-9)


def test_statistics_of_outputs_are_possible_and_forged_ones_are_not() -> None:
    """Of each case; then with an example more in the first cell, and with residuals or losses below 0."""
    forged = 0
    for seed in range(0, CASES, 5):
        task, output, y = case(seed)
        kind, sums = kind_of(task), sums_of(task, output, y)
        assert kind is not None
        _, tally = measured(task, output, y, sums)
        assert kind.possible(sums, tally).all(), (seed, task)
        if len(tally.cells):
            more = tally._replace(counts=tally.counts + (np.arange(len(tally.counts)) == 0))
            assert not kind.possible(sums, more).any(), (seed, task)
            forged += 1
        if np.isfinite(tally.numbers).all():
            assert not kind.possible(sums, tally._replace(numbers=tally.numbers - 1e6)).any(), (seed, task)
    assert forged > 40
