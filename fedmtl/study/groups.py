"""Runs that differ in their seed alone, taken together; the seed is the unit of every mean and interval."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fedmtl.study.names import algorithm_names, codec_name, describe, settings, short_names
from fedmtl.study.run import Curve, Metric, Run


class Estimate(NamedTuple):
    """A mean over seeds, and how far the seeds lie apart."""

    mean: float
    std: float | None
    """Sample standard deviation, divided by n - 1; None with one seed."""


class MeanCurve(NamedTuple):
    """A curve's mean over seeds. Lists of equal length."""

    rounds: list[int]
    """The rounds that every run of the group evaluated."""
    bytes: list[float]
    """Mean over seeds of the training bytes up to and including a round."""
    mean: list[float]
    std: list[float] | None
    """As in ``Estimate``."""


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one experiment, one for each seed."""

    name: str
    """The shortest name that tells it from the other groups on the same data: ``FedPer · TopK(keep=0.05)``."""
    algorithm: str
    """The part of the name that is the algorithm."""
    codec: str
    """The part of the name that is the codecs; empty when nothing is compressed."""
    runs: tuple[Run, ...]
    """In the order of their seeds."""

    @property
    def label(self) -> str:
        """The name in full, with all hyper-parameters, as the runs' summaries give it."""
        return self.runs[0].summary["label"]

    @property
    def problem(self) -> str:
        """The data in full; numbers of different problems are never compared."""
        return describe(self.runs[0].experiment["data"])

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Task name -> its metric."""
        return {task: metric for run in self.runs for task, metric in run.metrics.items()}

    def value(self, task: str) -> Estimate:
        """The task's metric at the end, over all clients."""
        return estimate([run.value(task) for run in self.runs])

    def score(self) -> Estimate:
        """The mean score over tasks at the end."""
        return estimate([run.score() for run in self.runs])

    def curve(self, task: str) -> MeanCurve:
        """The task's metric over rounds and bytes."""
        return mean_curve([run.curve(task) for run in self.runs])

    def score_curve(self) -> MeanCurve:
        """The mean score over rounds and bytes."""
        return mean_curve([run.mean_score_curve() for run in self.runs])


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Groups, sorted by data and name; runs belong together when they differ in no setting but the seed.

    Where a run took place (``names.IGNORED``) does not tell groups apart.

    Raises:
        ValueError: no run, or two runs of one seed in a group: they are one sample, not two.
    """
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(_key(settings(run.experiment)), []).append(run)
    if not members:
        raise ValueError("A study needs at least one run, got none; name the folders of some.")
    problems: dict[str, list[list[Run]]] = {}
    for group in members.values():
        problems.setdefault(_key(group[0].experiment["data"]), []).append(group)
    groups = [group for together in problems.values() for group in _named(together)]
    return sorted(groups, key=lambda group: (group.problem, group.name))


def by_problem(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Problem -> its groups, in order."""
    problems: dict[str, list[Group]] = {}
    for group in groups:
        problems.setdefault(group.problem, []).append(group)
    return problems


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and sample standard deviation of one value a seed."""
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def mean_curve(curves: Sequence[Curve]) -> MeanCurve:
    """The mean of curves, one a seed, at the rounds that all have."""
    rounds = sorted(set.intersection(*(set(curve.rounds) for curve in curves)))
    at = [[curve.rounds.index(r) for r in rounds] for curve in curves]
    values = np.array([[c.values[i] for i in index] for c, index in zip(curves, at, strict=True)])  # [seeds, rounds]
    cost = np.array([[c.bytes[i] for i in index] for c, index in zip(curves, at, strict=True)])
    std = values.std(axis=0, ddof=1).tolist() if len(curves) > 1 else None
    return MeanCurve(rounds, cost.mean(axis=0).tolist(), values.mean(axis=0).tolist(), std)


def _named(together: Sequence[Sequence[Run]]) -> list[Group]:
    experiments = [runs[0].experiment for runs in together]
    named = zip(short_names(experiments), algorithm_names(experiments), experiments, together, strict=True)
    return [Group(name, algorithm, codec_name(e), _by_seed(name, runs)) for name, algorithm, e, runs in named]


def _by_seed(name: str, runs: Sequence[Run]) -> tuple[Run, ...]:
    seeds: dict[int, Run] = {}
    for run in runs:
        if run.seed in seeds:
            raise ValueError(
                f"{name} has two runs of seed {run.seed}, {seeds[run.seed].folder} and {run.folder}; "
                "they are the same sample: name one of them only."
            )
        seeds[run.seed] = run
    return tuple(seeds[seed] for seed in sorted(seeds))


def _key(table: object) -> str:
    return json.dumps(table, sort_keys=True, default=str)
