"""Random predictions and labels of every kind of task, and their metrics by scikit-learn."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn import metrics as sk

from fedmtl.metrics import MetricKind, Tally
from fedmtl.metrics.kinds import kind_of
from fedmtl.metrics.tally import joined, tally
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression, Task

FAR = 1e6
"""In place of a logit that is not a number: the rank of an output that is wrong."""


def case(seed: int) -> tuple[Task, NDArray[Any], NDArray[Any]]:
    """A task, outputs [N, outputs] and labels: missing ones, one class, one example, ties, absent classes, extreme
    logits, outputs that are not numbers; each in some of the cases."""
    draw = np.random.default_rng(seed)
    rows = int(draw.choice([1, 2, 3, 10, 60, 300]))
    classes = int(draw.integers(2, 8))
    task = [MultiClass(classes), Binary(), MultiLabel(classes - 1), Regression(3.0, 2.5)][seed % 4]
    shape = (rows, *task.label_shape)
    if isinstance(task, Regression):
        y = 3 + 2.5 * draw.standard_normal(shape)
        if draw.random() < 0.2:
            y[:] = y.flat[0]
    else:
        y = draw.integers(0, draw.integers(1, classes + 1) if isinstance(task, MultiClass) else 2, shape).astype(float)
        if draw.random() < 0.2:
            y[:] = draw.integers(0, 2)
    output = draw.standard_normal((rows, task.outputs)) * draw.choice([0.01, 1.0, 5.0, 100.0])
    if draw.random() < 0.3:
        output = np.round(output)
    if draw.random() < 0.3:
        output += 3 * (np.eye(classes)[y.astype(int)] if isinstance(task, MultiClass) else y.reshape(rows, -1))
    if draw.random() < 0.3 and not isinstance(task, Regression):
        output[draw.random(output.shape) < 0.1] = draw.choice([np.nan, np.inf])
    if draw.random() < 0.5:
        y[draw.random(shape) < 0.3] = np.nan
    return task, output.astype(np.float32), y.astype(np.float32)


def measured(task: Task, output: NDArray[Any], y: NDArray[Any], sums: NDArray[Any], parts: int = 1, seed: int = 0):
    """Name -> the metric over all examples, from the statistics of clients that hold a part each; and theirs."""
    kind = kind_of(task)
    assert kind is not None
    owner = np.random.default_rng(seed).integers(0, parts, len(y))
    each = [_tally(kind, output[owner == part], y[owner == part]) for part in range(parts)]
    clients = joined(each)
    found = kind.metrics(sums.sum(0, keepdims=True), clients.total())
    return {name: float(value[0]) for name, value in found.items()}, clients


def _tally(kind: MetricKind, output: NDArray[Any], y: NDArray[Any]) -> Tally:
    rows, cells, numbers = kind.events(output, y)
    return tally(np.zeros(len(rows), np.int64), cells, None, numbers.sum(0, keepdims=True))


@contextmanager
def of_arrays() -> Iterator[None]:
    """Inside, scikit-learn warns of nothing, and looks at no argument for a setting or a data frame, which takes it
    longer than small arrays' metrics."""
    frames = "sklearn.utils.validation._nw_into_df_or_series"
    with (
        warnings.catch_warnings(),
        sklearn.config_context(skip_parameter_validation=True),
        patch(frames, lambda _: False, create=True),  # other releases have no such function
    ):
        warnings.simplefilter("ignore")
        yield


def by_scikit(task: Task, output: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    """The same by scikit-learn, over the labelled examples; NaN where it gives NaN or refuses."""
    with of_arrays():
        z = output.astype(np.float64)
        match task:
            case Regression():
                return _numbers(task, z[:, 0], y)
            case MultiClass():
                return _classes(task, z, y)
            case _:
                return _labels(task, z, y.reshape(len(y), -1))


def _numbers(task: Regression, z: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    known = ~np.isnan(y)
    if not known.any():
        return dict.fromkeys(("loss", "r2", "mae"), np.nan)
    truth, predicted = y[known].astype(np.float64), task.mean + task.std * z[known]
    return {
        "loss": sk.mean_squared_error(truth, predicted) / task.std**2,
        "r2": sk.r2_score(truth, predicted),
        "mae": sk.mean_absolute_error(truth, predicted),
    }


def _classes(task: MultiClass, z: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    known = ~np.isnan(y)
    z, truth, classes = z[known], y[known].astype(int), task.num_classes
    names = ("loss", "balanced_accuracy", "macro_f1", "auc", "average_precision")
    if not len(truth):
        return dict.fromkeys(names, np.nan)
    number = np.isfinite(z.max(1))
    predicted = np.where(number, z.argmax(1), classes)
    one_hot = np.eye(classes)[truth]
    p = np.where(number[:, None], softmax(np.where(number[:, None], z, 0), axis=1), np.where(one_hot, -1.0, 2.0))
    some = sorted(set(truth) | set(predicted) - {classes})
    loss = -np.log(p[np.arange(len(truth)), truth]).mean() if number.all() else np.nan
    return {
        "loss": loss,
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "macro_f1": sk.f1_score(truth, predicted, labels=some, average="macro", zero_division="warn"),
        "auc": float(np.mean([_auc(one_hot[:, k], p[:, k]) for k in range(classes)])),
        "average_precision": float(
            np.mean([sk.average_precision_score(one_hot[:, k], p[:, k]) for k in range(classes)])
        ),
    }


def _labels(task: Task, z: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    found: dict[str, list[float]] = {key: [] for key in ("balanced_accuracy", "macro_f1", "auc", "average_precision")}
    losses = []
    for label in range(z.shape[1]):
        known = ~np.isnan(y[:, label])
        logit, truth = z[known, label], y[known, label].astype(int)
        if not len(truth):
            continue
        number = np.isfinite(logit)
        predicted = np.where(number, logit > 0, 2)
        score = np.where(number, np.nan_to_num(logit), np.where(truth == 1, -FAR, FAR))
        found["balanced_accuracy"].append(sk.balanced_accuracy_score(truth, predicted))
        some = [1] if isinstance(task, MultiLabel) else sorted(set(truth) | set(predicted) - {2})
        found["macro_f1"].append(sk.f1_score(truth, predicted, labels=some, average="macro", zero_division="warn"))
        found["auc"].append(_auc(truth, score))
        found["average_precision"].append(sk.average_precision_score(truth, score))
        safe = np.where(number, np.nan_to_num(logit), 0)
        losses += np.where(number, -np.log(expit(np.where(truth == 1, safe, -safe))), np.nan).tolist()
    means = {name: float(np.mean(values)) if values else np.nan for name, values in found.items()}
    return {"loss": float(np.mean(losses)) if losses else np.nan, **means}


def _auc(truth: NDArray[Any], score: NDArray[Any]) -> float:
    return float(sk.roc_auc_score(truth, score)) if len(set(truth.tolist())) == 2 else np.nan
