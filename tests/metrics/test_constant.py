"""The floor of each task, against scikit-learn's dummy predictors, and in a run's summary."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import accuracy_score, f1_score, root_mean_squared_error

from fedmtl.data import from_arrays
from fedmtl.metrics.constant import constant_sums
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.floors import floors
from fedmtl.tasks import (
    Binary,
    DenseClasses,
    DenseRegression,
    Huber,
    MultiClass,
    MultiLabel,
    MultiRegression,
    Ordinal,
    Quantile,
    Regression,
    SequenceLabels,
    Task,
)

TASKS: list[Task] = [MultiClass(5), Binary(), MultiLabel(3), Regression(2.0, 3.0)]


def labels(task: Task, rows: int, seed: int) -> NDArray[Any]:
    draw = np.random.default_rng(seed)
    if isinstance(task, Regression):
        return draw.normal(2, 3, rows).astype(np.float32)
    most = task.num_classes if isinstance(task, MultiClass) else 2
    return draw.integers(0, most, (rows, *task.label_shape)).astype(np.float32)


def dummy(task: Task, train: NDArray[Any], test: NDArray[Any]) -> float:
    nothing, none = np.zeros((len(train), 1)), np.zeros((len(test), 1))
    if isinstance(task, Regression):
        return float(root_mean_squared_error(test, DummyRegressor().fit(nothing, train).predict(none)))
    predicted = DummyClassifier(strategy="most_frequent").fit(nothing, train).predict(none)
    if isinstance(task, MultiLabel):
        return float(f1_score(test, predicted, average="micro", zero_division=1.0))  # pyright: ignore
    return float(accuracy_score(test, predicted))


@pytest.mark.parametrize("task", TASKS, ids=repr)
@pytest.mark.parametrize("seed", range(10))
def test_the_floor_is_that_of_a_dummy(task: Task, seed: int) -> None:
    train, test = labels(task, 41, seed), labels(task, 23, seed + 100)
    sums = constant_sums(task, train, test)
    assert sums is not None
    assert task.metric(sums) == pytest.approx(dummy(task, train, test), rel=1e-6)
    if task.label_shape == ():
        gaps = np.insert(train, 3, np.nan), np.insert(test, 0, np.nan)
        assert task.metric(constant_sums(task, *gaps)) == pytest.approx(task.metric(sums))  # pyright: ignore
    assert constant_sums(task, train * np.nan, test) is None


def test_floors_of_the_other_kinds_are_those_of_a_dummy() -> None:
    """Medians, quantiles and means of the training labels; the most frequent class of all places."""
    draw = np.random.default_rng(0)
    y, z = draw.normal(2, 3, 41).astype(np.float32), draw.normal(2, 3, 23).astype(np.float32)
    assert floor(Huber(2.0, 3.0), y, z) == pytest.approx(np.abs(z - np.median(y)).mean(), rel=1e-6)
    median = Quantile((0.5,), 2.0, 3.0)
    assert floor(median, y, z) == pytest.approx(np.abs(z - np.median(y)).mean() / 2, rel=1e-6)
    many, others = y[:40].reshape(10, 4), z[:20].reshape(5, 4)
    errors = others - many.mean(0)
    expected = np.sqrt((errors**2).mean(0)).mean()
    assert floor(MultiRegression(4, 2.0, 3.0), many, others) == pytest.approx(expected, rel=1e-6)
    expected = np.sqrt(((others - many.mean()) ** 2).mean())
    maps = many.reshape(-1, 2, 2), others.reshape(-1, 2, 2)
    assert floor(DenseRegression((2, 2), 2.0, 3.0), *maps) == pytest.approx(expected, rel=1e-6)
    classes, seen = np.array([[0, 1, 2, 1]], np.float32), np.array([[1, 1, 0, np.nan]], np.float32)
    assert floor(SequenceLabels(3, 4), classes, seen) == pytest.approx(2 / 3)
    assert floor(DenseClasses(3, (4,)), classes, seen) == pytest.approx((2 / 3 + 0) / 2)
    levels = np.array([0, 0, 2, 3, 3], np.float32)
    assert floor(Ordinal(4), levels, np.array([2, 0], np.float32)) == 1.0


def floor(task: Task, train: NDArray[Any], test: NDArray[Any]) -> float:
    sums = constant_sums(task, train, test)
    assert sums is not None and constant_sums(task, train * np.nan, test) is None
    return task.metric(sums)


def test_a_summary_has_the_floors_of_the_measured_clients() -> None:
    """Training labels 1, 1, 0 and 0, 0, 0, 0: most are 0. Test labels 1, 1 and 0: a third is right, of all clients."""
    x = np.arange(12, dtype=np.float64)[:, None]
    data = from_arrays(
        {
            0: {"train": (x[:3], {"sick": [1, 1, 0]}), "test": (x[:2], {"sick": [1, 1]})},
            1: {"train": (x[3:7], {"sick": [0, 0, 0, 0]}), "test": (x[7:8], {"sick": [0]})},
        }
    )
    result = run(Experiment(data=data, model="Linear", algorithm="Local", rounds=1, runtime="InProcess"))
    assert result.summary["floors"] == {"sick": {"value": 1 / 3, "score": 1 / 3}}
    federation = data.load(0)
    for client, value in ((0, 0.0), (1, 1.0)):
        assert floors(federation, np.array([client])) == {"sick": {"value": value, "score": value}}
