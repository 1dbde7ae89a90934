"""Label skew: the labels of each client beside those of all."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import Federation
from fedmtl.tasks.base import Task
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multilabel import MultiLabel
from fedmtl.tasks.names import class_names


class LabelSkew(NamedTuple):
    """The labels of one task, training and test examples together, of the K clients that own it."""

    task: str
    clients: NDArray[np.int64]
    """Owners, ascending, [K]."""
    labelled: NDArray[np.int64]
    """Labelled examples, [K]."""
    names: tuple[str, ...]
    """Names of the C classes or labels; empty for a task of numbers."""
    counts: NDArray[np.int64]
    """Labels of each class, [K, C]."""
    means: NDArray[np.float64]
    """Mean labels of a task of numbers, [K], else empty; NaN where a client has no label."""
    stds: NDArray[np.float64]
    """Standard deviations, as ``means``."""
    own: NDArray[np.float64]
    """Each client's part of the skew, [K]; NaN where it has no label. See ``label_skew``."""
    skew: float
    """0 where all clients are alike, 1 at most; NaN without a label. See ``label_skew``."""


def label_skew(federation: Federation) -> dict[str, LabelSkew]:
    r"""The skew of each task, by name.

    With n_kc labels of class c at client k, p_kc = n_kc / n_k and p_c = Σ_k n_kc / Σ_k n_k, over clients with labels:

        classes  skew = 1/K Σ_k ½ Σ_c \|p_kc − p_c\|        the mean total variation distance         (1)
        labels   skew = 1/K Σ_k 1/C Σ_c \|p_kc − p_c\|      p_kc: the share of examples with label c  (2)
        numbers  skew = Σ_k n_k (m_k − m)² / Σ_i (y_i − m)² the share of variance between clients     (3)

    A client's own part is its term of the sum, in (1) and (2) without 1/K: its distance from all clients together.
    """
    return {name: _of_task(federation, name, federation.tasks[name]) for name in sorted(federation.tasks)}


def _of_task(federation: Federation, name: str, task: Task) -> LabelSkew:
    owners = [client for client in federation.ids().tolist() if name in federation.schema.owners[client]]
    labels = [np.concatenate([split.y[name] for split in federation.clients[client]]) for client in owners]
    clients = np.array(owners, np.int64)
    empty = np.zeros(0)
    if isinstance(task, MultiLabel):
        shares = np.array([[np.nan_to_num(y, nan=0.0).sum(0), (~np.isnan(y)).sum(0)] for y in labels])
        counts, known = shares[:, 0].astype(np.int64), shares[:, 1].astype(np.int64)
        names = class_names(task) or tuple(map(str, range(counts.shape[1])))
        own = _distances(counts, known) / counts.shape[1]
        return LabelSkew(name, clients, known.max(1), names, counts, empty, empty, own, _mean(own))
    flat = [y[~np.isnan(y)] for y in labels]
    labelled = np.array([len(y) for y in flat], np.int64)
    if isinstance(task, Binary) or task.traits.names:
        names = class_names(task) or tuple(map(str, range(1 + int(max((y.max() for y in flat if len(y)), default=1)))))
        counts = np.array([np.bincount(y.astype(np.int64), minlength=len(names)) for y in flat])
        own = _distances(counts, np.broadcast_to(labelled[:, None], counts.shape)) / 2
        return LabelSkew(name, clients, labelled, names, counts, empty, empty, own, _mean(own))
    means = np.array([y.mean(dtype=np.float64) if len(y) else np.nan for y in flat])
    stds = np.array([y.std(dtype=np.float64) if len(y) else np.nan for y in flat])
    none = np.zeros((len(owners), 0), np.int64)
    own = _between(flat, means)
    return LabelSkew(
        name, clients, labelled, (), none, means, stds, own, float(np.nansum(own)) if labelled.any() else np.nan
    )


def _distances(counts: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.float64]:
    """Σ_c |p_kc − p_c| of each client, [K]; NaN of one without labels."""
    own = counts / np.maximum(known, 1)
    pooled = counts.sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known.max(1, initial=0) > 0, np.abs(own - pooled).sum(1), np.nan)


def _mean(own: NDArray[np.float64]) -> float:
    """The mean over clients with labels."""
    return float(np.nanmean(own)) if (~np.isnan(own)).any() else float("nan")


def _between(flat: list[NDArray[Any]], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """The terms of (3), [K], 0 where all labels are equal."""
    joined = np.concatenate(flat).astype(np.float64) if flat else np.zeros(0)
    total = float(((joined - joined.mean()) ** 2).sum()) if len(joined) else 0.0
    parts = [len(y) * (mean - joined.mean()) ** 2 if len(y) else np.nan for y, mean in zip(flat, means, strict=True)]
    return np.array(parts, np.float64) / (total or 1.0)
