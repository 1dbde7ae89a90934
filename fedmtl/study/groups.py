"""Runs that differ in their seed alone, taken together; the seed is the unit of every mean and interval."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedmtl.study.names import algorithm_names, codec_names, describe, settings, settings_key, short_names
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
    """Its alias where it was given one, else ``automatic``: what tables, figures and verdicts call it."""
    algorithm: str
    """The part of the automatic name that is the algorithm."""
    codec: str
    """The part of the automatic name that is the codecs; empty when nothing is compressed."""
    runs: tuple[Run, ...]
    """In the order of their seeds."""
    automatic: str
    """The shortest name that tells it from the other groups on the same data: ``FedPer · TopK5 ↑``."""

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


def group_runs(runs: Iterable[Run], aliases: Mapping[Path, str] | None = None) -> list[Group]:
    """Groups, sorted by data and automatic name; runs belong together when they differ in no setting but the seed.

    Where a run took place (``names.IGNORED``) does not tell groups apart.

    Args:
        runs: those of a study.
        aliases: run folder -> the name of its group (``study.aliases.read_aliases``). One that two groups of a problem
            share is followed by the automatic name.

    Raises:
        ValueError: no run, or two runs of one seed in a group: they are one sample, not two.
    """
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(settings_key(settings(run.experiment)), []).append(run)
    if not members:
        raise ValueError("A study needs at least one run, got none; name the folders of some.")
    problems: dict[str, list[list[Run]]] = {}
    for group in members.values():
        problems.setdefault(settings_key(group[0].experiment["data"]), []).append(group)
    groups = [group for together in problems.values() for group in _named(together, aliases or {})]
    return sorted(groups, key=lambda group: (group.problem, group.automatic))


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


def _named(together: Sequence[Sequence[Run]], aliases: Mapping[Path, str]) -> list[Group]:
    experiments = [runs[0].experiment for runs in together]
    automatic = _distinct(short_names(experiments))
    given = [next((aliases[run.folder] for run in runs if run.folder in aliases), "") for runs in together]
    names = [
        own if alias in ("", own) else alias if [*given, *automatic].count(alias) == 1 else f"{alias} ({own})"
        for own, alias in zip(automatic, given, strict=True)
    ]
    parts = zip(names, algorithm_names(experiments), codec_names(experiments), together, automatic, strict=True)
    return [Group(name, alg, codec, _by_seed(name, runs), own) for name, alg, codec, runs, own in parts]


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which those that stand there already are numbered: classes of one name from two modules."""
    return [name if name not in names[:i] else f"{name} #{1 + names[:i].count(name)}" for i, name in enumerate(names)]


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
