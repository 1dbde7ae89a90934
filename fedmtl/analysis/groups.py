"""Runs that differ in their seed alone, taken together; the seed is the unit of every mean and interval."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedmtl.analysis.curve import Curve, Metric
from fedmtl.analysis.intervals import Estimate, estimate, half_widths
from fedmtl.analysis.runs import Run
from fedmtl.runs.labels import algorithm_names, codec_names, describe, settings, settings_key, short_names
from fedmtl.runs.run_failure import STATES


class MeanCurve(NamedTuple):
    """A curve's mean over seeds. Lists of equal length."""

    rounds: list[int]
    """The rounds that every finished run of the group evaluated."""
    bytes: list[float]
    """Mean over seeds of the training bytes up to and including a round."""
    mean: list[float]
    half: list[float] | None
    """Half the width of the interval, as in ``Estimate``."""


class SeedFailure(NamedTuple):
    """A run of a group that is no sample of its result."""

    seed: int
    state: str
    """"diverged", "failed" or "unfinished", as in ``Failure``."""
    round: int
    rounds: int
    """The rounds that it was to have."""
    reason: str


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one experiment, one for each seed.

    Its numbers are those of the runs that have finished and have not diverged; of none, they are NaN, and curves empty.
    """

    name: str
    """Its alias where it was given one, else ``automatic``: what tables, figures and verdicts call it."""
    algorithm: str
    """The part of the automatic name that is the algorithm."""
    codec: str
    """The part of the automatic name that is the codecs; empty when nothing is compressed."""
    runs: tuple[Run, ...]
    """In the order of their seeds."""
    automatic: str
    """The shortest name that differs from those of the other groups on the same data: ``FedPer · TopK5 ↑``."""

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

    @cached_property
    def finished(self) -> tuple[Run, ...]:
        """The runs that count: those without a failure."""
        return tuple(run for run in self.runs if run.failure is None)

    @cached_property
    def failures(self) -> tuple[SeedFailure, ...]:
        """The other runs, in the order of their seeds."""
        return tuple(
            SeedFailure(run.seed, failure.state, failure.round, run.experiment["rounds"], failure.reason)
            for run in self.runs
            if (failure := run.failure) is not None
        )

    @property
    def status(self) -> str:
        """Number of seeds that count, and the fate of the others: ``2 of 3 seeds · 1 diverged at round 12``."""
        return status(len(self.runs), self.failures)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Task name -> its metric."""
        return {task: metric for run in self.runs for task, metric in run.metrics.items()}

    def value(self, task: str) -> Estimate:
        """The task's metric at the end, over all clients."""
        return estimate([run.value(task) for run in self.finished])

    def score(self) -> Estimate:
        """The mean score over tasks at the end."""
        return estimate([run.score() for run in self.finished])

    def curve(self, task: str) -> MeanCurve:
        """The task's metric over rounds and bytes."""
        return mean_curve([run.curve(task) for run in self.finished])

    def score_curve(self) -> MeanCurve:
        """The mean score over rounds and bytes."""
        return mean_curve([run.mean_score_curve() for run in self.finished])


def group_runs(runs: Iterable[Run], aliases: Mapping[Path, str] | None = None) -> list[Group]:
    """Groups, sorted by data and automatic name; runs belong together when they differ in no setting but the seed.

    Where a run took place (``labels.NOT_COMPARED``) does not distinguish groups.

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


def status(seeds: int, failures: Sequence[SeedFailure]) -> str:
    """Return the number of a group's seeds that count, and the fate of the others.

    ``3 seeds``, or ``1 of 3 seeds · 1 diverged at round 12 · 1 unfinished (round 3 of 30)``.
    """
    if not failures:
        return f"{seeds} seed{'s' * (seeds != 1)}"
    parts = [f"{seeds - len(failures)} of {seeds} seed{'s' * (seeds != 1)}"]
    for state in STATES:
        some = [failure for failure in failures if failure.state == state]
        rounds = sorted({failure.round for failure in some})
        where = f"round{'s' * (len(rounds) > 1)} {', '.join(map(str, rounds))}"
        if some and state == "diverged":
            parts.append(f"{len(some)} diverged at {where}")
        elif some:
            parts.append(f"{len(some)} {state} ({where} of {some[0].rounds})")
    return " · ".join(parts)


def mean_curve(curves: Sequence[Curve]) -> MeanCurve:
    """The mean of curves, one a seed, at the rounds that all have; empty without a curve."""
    if not curves:
        return MeanCurve([], [], [], None)
    rounds = sorted(set.intersection(*(set(curve.rounds) for curve in curves)))
    at = [[curve.rounds.index(r) for r in rounds] for curve in curves]
    values = np.array([[c.values[i] for i in index] for c, index in zip(curves, at, strict=True)])  # [seeds, rounds]
    cost = np.array([[c.bytes[i] for i in index] for c, index in zip(curves, at, strict=True)])
    return MeanCurve(rounds, cost.mean(axis=0).tolist(), values.mean(axis=0).tolist(), half_widths(values))


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
