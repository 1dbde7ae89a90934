"""Metrics of ordinal, quantile, dense and sequence tasks on 200 random cases each are scikit-learn's, from sums split
over clients."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedmtl.metrics.kinds import kind_of
from fedmtl.tasks.checks import possible
from tests.metrics.cases import measured
from tests.metrics.further_cases import KINDS, by_scikit, case

CASES = 200


def sums_of(task: Any, output: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return task.sums(torch.tensor(output), torch.tensor(y), torch.ones(len(y))).numpy()[None]


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_are_scikit_learns(kind: str) -> None:
    """To 1e-9; NaN where scikit-learn gives NaN. Of one client, and of three."""
    for seed in range(CASES):
        task, output, y = case(kind, seed)
        sums, wanted = sums_of(task, output, y), by_scikit(task, output, y)
        for clients in (1, 3):
            found, _ = measured(task, output, y, sums, clients, seed)
            found[task.metric_name] = task.metric(sums[0])
            assert set(wanted) == set(found)
            for name, value in wanted.items():
                about = f"case {seed} of {clients}, {task}: {name} is {found[name]}, not {value}"
                assert np.isnan(found[name]) == np.isnan(value), about
                if np.isfinite(value):
                    assert abs(found[name] - value) <= 1e-9 * max(1.0, abs(value)), about


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_case_is_among_them(kind: str) -> None:
    """So that the test above says something."""
    cases = [case(kind, seed) for seed in range(CASES)]
    assert sum(len(y) == 1 for _, _, y in cases) > 10
    assert sum(bool(np.isnan(y).any()) for _, _, y in cases) > 60
    assert sum(len(np.unique(y[~np.isnan(y)])) == 1 for _, _, y in cases) > 15
    if hasattr(cases[0][0], "num_classes"):
        assert sum(not np.isfinite(output).all() for _, output, _ in cases) > 15
        assert sum(bool(y.size > 20 and np.nanmax(y) + 1 < task.num_classes) for task, _, y in cases) > 15


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_of_outputs_are_possible_and_forged_ones_are_not(kind: str) -> None:
    """Of each case; then with an entry more in the first cell, and with numbers far below 0."""
    forged = 0
    for seed in range(0, CASES, 3):
        task, output, y = case(kind, seed)
        statistics, sums = kind_of(task), sums_of(task, output, y)
        assert statistics is not None
        assert possible(task, sums, np.array([float(len(y))])).all() == np.isfinite(sums).all(), (seed, task)
        if not np.isfinite(sums).all():
            continue
        _, tally = measured(task, output, y, sums)
        assert statistics.possible(sums, tally).all(), (seed, task)
        if len(tally.cells):
            more = tally._replace(counts=tally.counts + (np.arange(len(tally.counts)) == 0))
            assert not statistics.possible(sums, more).any(), (seed, task)
        if np.isfinite(tally.numbers).all():
            assert not statistics.possible(sums, tally._replace(numbers=tally.numbers - 1e6)).any(), (seed, task)
            forged += 1
    assert forged > 30


def test_miou_by_hand() -> None:
    """Classes 0, 0, 1, 2 predicted 0, 1, 1, 1: IoU 1/2, 1/3 and 0, of four classes of which one neither occurs nor is
    predicted: mean 5/18. A void place counts nowhere."""
    from fedmtl.tasks import DenseClasses

    task = DenseClasses(4, (5,), void=255)
    y = task.labels(np.array([[0, 0, 1, 2, 255]]))
    output = np.zeros((1, 4, 5), np.float32)
    output[0, [0, 1, 1, 1, 3], np.arange(5)] = 1
    sums = sums_of(task, output, y)
    assert sums.tolist() == [[1, 1, 1, 0, 0, 2, 1, 1, 0, 1, 3, 0, 0]]
    assert task.metric(sums[0]) == pytest.approx(5 / 18)


def test_kappa_by_hand() -> None:
    """Levels 0, 1, 2 predicted 0, 1, 1: Σ (y − ŷ)² = 1; Σ y² + Σ ŷ² − 2 Σ y Σ ŷ / n = 5 + 2 − 2 · 3 · 2 / 3 = 3. So
    1 − 1/3. The thresholds of the second ask for a level above 0 and none above 1, in the other order: 1 of 2."""
    from fedmtl.tasks import Ordinal

    task, y = Ordinal(3), np.array([0, 1, 2], np.float32)
    output = np.array([[-1, -1], [-1, 1], [1, -1]], np.float32)
    sums = sums_of(task, output, y)
    found, _ = measured(task, output, y, sums)
    assert found["quadratic_kappa"] == pytest.approx(2 / 3) and found["accuracy"] == pytest.approx(2 / 3)
    assert sums.tolist() == [[3, 1]]
