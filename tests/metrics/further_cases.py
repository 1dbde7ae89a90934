"""Random predictions and labels of the kinds beyond classes and one number, and their metrics by scikit-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn import metrics as sk

from fedmtl.tasks import (
    DenseClasses,
    DenseRegression,
    Huber,
    MultiRegression,
    Ordinal,
    Quantile,
    SequenceLabels,
    Task,
)
from fedmtl.tasks.base import output_shape
from tests.metrics.cases import of_arrays

KINDS: dict[str, Callable[[np.random.Generator], Task]] = {
    "Ordinal": lambda draw: Ordinal(int(draw.integers(2, 7))),
    "MultiRegression": lambda draw: MultiRegression(3, mean=(1.0, -20.0, 0.0), std=(2.0, 30.0, 1.0)),
    "Huber": lambda draw: Huber(3.0, 2.5, delta=float(draw.choice([0.1, 1.0, 3.0]))),
    "Quantile": lambda draw: Quantile([(0.5,), (0.9,), (0.1, 0.5, 0.9)][draw.integers(3)], 3.0, 2.5),
    "DenseClasses": lambda draw: DenseClasses(int(draw.integers(2, 6)), (4, 3), void=255),
    "DenseRegression": lambda draw: DenseRegression((4, 3), 3.0, 2.5),
    "SequenceLabels": lambda draw: SequenceLabels(int(draw.integers(2, 6)), 7, padding=-100),
}
Case = tuple[Any, NDArray[Any], NDArray[Any]]


def case(kind: str, seed: int) -> Case:
    """A task, outputs and raw labels: missing ones, void ones, one class, one example, ties, absent classes, extreme
    outputs, outputs that are not numbers; each in some of the cases."""
    draw = np.random.default_rng((seed, len(kind), *map(ord, kind[:3])))
    task: Any = KINDS[kind](draw)
    rows = int(draw.choice([1, 2, 3, 10, 40, 150]))
    shape = (rows, *task.label_shape)
    output = draw.standard_normal((rows, *output_shape(task.outputs))) * draw.choice([0.01, 1.0, 5.0, 50.0])
    if hasattr(task, "num_classes"):
        y = draw.integers(0, draw.integers(1, task.num_classes + 1), shape).astype(float)
        if draw.random() < 0.2:
            y[:] = draw.integers(0, task.num_classes)
        if draw.random() < 0.3:
            output = np.round(output)
        if draw.random() < 0.3 and kind == "Ordinal":
            output += 3 * np.where(y[:, None] > np.arange(task.num_classes - 1), 1, -1)
        if draw.random() < 0.2:
            output[draw.random(output.shape) < 0.05] = draw.choice([np.nan, np.inf])
        if draw.random() < 0.4 and kind != "Ordinal":
            y[draw.random(shape) < 0.3] = 255 if kind == "DenseClasses" else -100
    else:
        y = np.array(task.mean) + np.array(task.std) * draw.standard_normal(shape)
        if draw.random() < 0.2:
            y[:] = y.flat[0]
        if draw.random() < 0.3:
            y, output = np.round(y), np.round(output)
    if draw.random() < 0.5:
        y[draw.random(shape) < 0.3] = np.nan
    return task, output.astype(np.float32), task.labels(y.astype(np.float32))


def by_scikit(task: Task, output: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    """The primary metric and all others by scikit-learn, over the labelled entries; NaN where there is none, or where
    it gives NaN."""
    with of_arrays():
        z = output.astype(np.float64)
        match task:
            case Ordinal():
                return _levels(task.num_classes, z, y)
            case Huber():
                return _huber(task, z[:, 0], y)
            case Quantile():
                return _quantiles(task, z, y)
            case MultiRegression():
                return _numbers(task.mean, task.std, z, y)
            case DenseRegression():
                return _numbers((task.mean,), (task.std,), z.reshape(-1, 1), y.reshape(-1, 1))
            case DenseClasses():
                return _places(task.num_classes, np.moveaxis(z, 1, -1), y)
            case SequenceLabels():
                return _places(task.num_classes, np.moveaxis(z, 1, -1), y)
            case _:
                raise AssertionError(task)


def _levels(levels: int, z: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    known = ~np.isnan(y)
    z, truth = z[known], y[known].astype(int)
    if not len(truth):
        names = ("mae", "loss", "accuracy", "balanced_accuracy", "macro_f1", "quadratic_kappa")
        return dict.fromkeys(names, np.nan)
    number = np.all(np.isfinite(z), axis=1)
    level = (z > 0).sum(1)
    farthest = np.where(truth > levels - 1 - truth, 0, levels - 1)
    predicted = np.where(number, level, levels)
    above = truth[:, None] > np.arange(levels - 1)
    safe = np.where(number[:, None], z, 0.0)
    losses = -np.log(np.maximum(expit(np.where(above, safe, -safe)), 1e-300)).mean(1)
    off = np.where(number, np.abs(level - truth), levels - 1)
    kappa = sk.cohen_kappa_score(
        truth, np.where(number, level, farthest), labels=np.arange(levels), weights="quadratic"
    )
    return {
        "mae": float(off.mean()),  # mean_absolute_error, but for outputs that are no number
        "loss": float(losses.mean()) if number.all() else np.nan,
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "macro_f1": sk.f1_score(truth, predicted, labels=_some(truth, predicted, levels), average="macro"),
        "quadratic_kappa": kappa,
    }


def _some(truth: NDArray[Any], predicted: NDArray[Any], classes: int) -> list[int]:
    """The classes that occur or are predicted."""
    return sorted(set(truth.tolist()) | set(predicted.tolist()) - {classes})


def _places(classes: int, z: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    z, known = z.reshape(-1, classes), ~np.isnan(y.ravel())
    z, truth = z[known], y.ravel()[known].astype(int)
    if not len(truth):
        return dict.fromkeys(("loss", "accuracy", "balanced_accuracy", "macro_f1", "miou"), np.nan)
    number = np.isfinite(z.max(1))
    predicted = np.where(number, z.argmax(1), classes)
    some = _some(truth, predicted, classes)
    shifted = z - z.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(z)), truth]
    return {
        "loss": float(losses.mean()) if number.all() else np.nan,
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "macro_f1": sk.f1_score(truth, predicted, labels=some, average="macro"),
        "miou": sk.jaccard_score(truth, predicted, labels=some, average="macro"),
    }


def _huber(task: Huber, z: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    known = ~np.isnan(y)
    if not known.any():
        return dict.fromkeys(("mae", "loss", "r2"), np.nan)
    truth, predicted = y[known].astype(np.float64), task.mean + task.std * z[known]
    e = np.abs(predicted - truth) / task.std
    losses = np.where(e <= task.delta, e**2 / 2, task.delta * (e - task.delta / 2))
    return {
        "mae": sk.mean_absolute_error(truth, predicted),
        "loss": float(losses.mean()),
        "r2": sk.r2_score(truth, predicted),
    }


def _quantiles(task: Quantile, z: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    known = ~np.isnan(y)
    if not known.any():
        return dict.fromkeys(("pinball", "loss", "coverage"), np.nan)
    truth, predicted = y[known].astype(np.float64), task.mean + task.std * z[known]
    losses = [sk.mean_pinball_loss(truth, predicted[:, q], alpha=level) for q, level in enumerate(task.quantiles)]
    t = (truth - task.mean) / task.std
    low = z[known, 0] if len(task.quantiles) > 1 else -np.inf
    return {
        "pinball": float(np.mean(losses)),
        "loss": float(np.mean(losses)) / task.std,
        "coverage": float(np.mean((low <= t) & (t <= z[known, -1]))),
    }


def _numbers(mean: Any, std: Any, z: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    """scikit-learn takes no gaps, so each number by itself, and the uniform average of those that have a label."""
    found: dict[str, list[float]] = {"rmse": [], "r2": [], "mae": []}
    squares: list[float] = []
    for column, (mu, sigma) in enumerate(zip(mean, std, strict=True)):
        known = ~np.isnan(y[:, column])
        if not known.any():
            continue
        truth, predicted = y[known, column].astype(np.float64), mu + sigma * z[known, column]
        found["rmse"].append(sk.root_mean_squared_error(truth, predicted))
        found["mae"].append(sk.mean_absolute_error(truth, predicted))
        if known.sum() > 1:
            found["r2"].append(sk.r2_score(truth, predicted))
        squares += (((predicted - truth) / sigma) ** 2).tolist()
    means = {name: float(np.mean(values)) if values else np.nan for name, values in found.items()}
    return {**means, "loss": float(np.mean(squares)) if squares else np.nan}
