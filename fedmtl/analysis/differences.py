"""Is one better than the other? Differences between runs of the same seeds, with their intervals.

Runs of one seed share data, partition and initial model, so their difference is freer of noise than either. The mean of
the differences and its interval are those of ``intervals``, over the seeds that both have finished.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fedmtl.analysis.groups import Group, by_problem
from fedmtl.analysis.intervals import estimate, too_few
from fedmtl.analysis.runs import Run
from fedmtl.runs.labels import class_name, settings

BASELINES = ("Local", "FedAvg")
"""Baselines of every algorithm: learning alone, and one model for all."""


class Difference(NamedTuple):
    """Mean score over tasks, a minus b."""

    mean: float
    low: float | None
    """Lower end of the 95 % interval; None where the seeds are too few for one."""
    high: float | None
    seeds: tuple[int, ...]
    """The seeds that both have."""


def paired_difference(runs_a: Iterable[Run], runs_b: Iterable[Run]) -> Difference:
    """The difference of the mean scores at the end, a - b, over the seeds that both have finished.

    Runs that have not ended or have diverged are left out.

    Raises:
        ValueError: no common seed.
    """
    scores_a, scores_b = _final_scores(runs_a), _final_scores(runs_b)
    seeds = tuple(sorted(scores_a.keys() & scores_b.keys()))
    if not seeds:
        raise ValueError(
            f"A paired difference needs a seed that both have finished, got {sorted(scores_a)} and {sorted(scores_b)}; "
            "run both with the same seeds."
        )
    found = estimate([scores_a[seed] - scores_b[seed] for seed in seeds])
    return Difference(found.mean, found.low, found.high, seeds)


def default_pairs(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Names of what to compare on one problem, each two once.

    Every group without compression against Local and against FedAvg: is the algorithm worth it? Every group
    with compression against its algorithm without: what does compression cost? Where several groups could be
    the baseline, those that share the other settings are.
    """
    dense = [group for group in groups if not group.codec]
    pairs = [(a, b) for name in BASELINES for a in dense for b in peers(a, [b for b in dense if _class(b) == name])]
    pairs += [(a, b) for a in groups if a.codec for b in peers(a, [b for b in dense if b.algorithm == a.algorithm])]
    names: list[tuple[str, str]] = []
    for a, b in pairs:
        if a is not b and (b.name, a.name) not in names:
            names.append((a.name, b.name))
    return names


def verdicts(groups: Iterable[Group], pairs: Iterable[tuple[str, str]] | None = None) -> list[str]:
    """One line of Markdown for each pair: ``FedPer − Local: +0.083 [+0.061, +0.105] over 3 seeds (…)``.

    Args:
        groups: what ``group_runs`` gives; groups on different data are not compared.
        pairs: names of groups, ``("FedPer", "Local")``; ``default_pairs`` when None.

    Raises:
        ValueError: a name that no group has.
    """
    problems = by_problem(groups)
    chosen = None if pairs is None else list(pairs)
    known = {group.name for together in problems.values() for group in together}
    unknown = sorted({name for pair in chosen or () for name in pair} - known)
    if unknown:
        raise ValueError(f"No group is named {', '.join(map(repr, unknown))}; the names are {sorted(known)}.")
    lines = []
    for problem, together in problems.items():
        named = {group.name: group for group in together}
        for a, b in default_pairs(together) if chosen is None else chosen:
            if a in named and b in named:
                line = f"{a} − {b}: {_verdict(named[a], named[b])}"
                lines.append(f"{problem}: {line}" if len(problems) > 1 else line)
    return lines


def peers(group: Group, baselines: Sequence[Group]) -> Sequence[Group]:
    """Those of some baselines that share the group's other settings; all of them where none does."""
    return [b for b in baselines if _other_settings(b) == _other_settings(group)] or baselines


def _other_settings(group: Group) -> dict[str, Any]:
    own = settings(group.runs[0].experiment)
    return {key: value for key, value in own.items() if key not in ("algorithm", "up_codec", "down_codec")}


def _class(group: Group) -> str:
    return class_name(group.runs[0].experiment["algorithm"])


def _final_scores(runs: Iterable[Run]) -> dict[int, float]:
    return {run.seed: run.score() for run in runs if run.failure is None}


def _verdict(a: Group, b: Group) -> str:
    if not _final_scores(a.runs).keys() & _final_scores(b.runs).keys():
        why = [f"{group.name}: {group.status}" for group in (a, b) if group.failures]
        return "no seed that both have finished" + (f" ({'; '.join(why)})" if why else "")
    mean, low, high, seeds = paired_difference(a.runs, b.runs)
    if low is None or high is None:
        over = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
        return f"{_signed(mean)} over {over} (mean score over tasks; {too_few(len(seeds))})"
    return (
        f"{_signed(mean)} [{_signed(low)}, {_signed(high)}] over {len(seeds)} seeds "
        "(mean score over tasks; interval 95 %, paired t)"
    )


def _signed(number: float) -> str:
    return f"{number:+z.3f}".replace("-", "−")
