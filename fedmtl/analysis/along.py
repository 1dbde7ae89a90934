"""Scores along an axis: a line for each method, and at each value which of them is best.

At a value the methods are compared by paired differences over the seeds (``differences``). The best is the method with
the highest mean; those whose difference to it is not clear, because its 95 % interval holds 0, are level with it. Two
methods cross between two values when one is clearly ahead at the one and the other at the other.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from fedmtl.analysis.differences import Difference, paired_difference
from fedmtl.analysis.gains import ALONE
from fedmtl.analysis.groups import Group, group_runs
from fedmtl.analysis.runs import Run
from fedmtl.runs.axis import Axis, value_at
from fedmtl.runs.labels import class_name, settings

METHOD = ("algorithm", "up_codec", "down_codec")
"""Settings that distinguish lines."""


class MethodLine(NamedTuple):
    """One method along the axis."""

    name: str
    """Name of its group at each value."""
    groups: dict[int, Group]
    """Position on the axis -> its runs; positions at which it was not run are missing."""


class MethodLines(NamedTuple):
    """Values that differ along the axis alone."""

    axis: Axis
    """With the values that have runs."""
    lines: tuple[MethodLine, ...]
    """Sorted by name; each has two values or more."""


class AxisPoint(NamedTuple):
    """The outcome at one value."""

    value: Any
    best: str
    level: tuple[str, ...]
    """Those that are not clearly behind the best; without the best."""
    local: tuple[str, ...]
    """Those of the best and its equals that are Local and that no method is clearly better than: where there is one,
    nothing needs to be sent."""
    over_local: tuple[str, Difference] | None
    """The best of those that are clearly better than Local, where Local is level with the best method of all."""
    ahead: tuple[str, Difference] | None
    """The next best that is clearly behind, and by how much; None where all are level."""


class Crossing(NamedTuple):
    """Two methods of which each is clearly ahead somewhere."""

    first: str
    second: str
    at: tuple[int, int]
    """Positions: the last at which ``first`` is clearly ahead, and the first after it at which ``second`` is."""
    differences: tuple[Difference, Difference]
    """first − second at both."""


def along(runs: Iterable[Run], axis: Axis, aliases: Mapping[Path, str] | None = None) -> list[MethodLines]:
    """The lines of some runs, for each setting of all that is neither the axis nor a method.

    Runs that have not finished, or have diverged, are left out. Settings with fewer than two values of the axis have
    no lines.
    """
    families: dict[Hashable, list[tuple[Any, Run]]] = {}
    for run in runs:
        value = value_at(run.experiment, axis.field)
        if run.failure is None and value is not None and value in axis.values:
            families.setdefault(_family(run, axis), []).append((value, run))
    found = []
    for members in families.values():
        values = tuple(value for value in axis.values if any(value == own for own, _ in members))
        at: dict[str, dict[int, Group]] = {}
        for position, value in enumerate(values):
            for group in group_runs((run for own, run in members if own == value), aliases):
                at.setdefault(group.name, {})[position] = group
        lines = tuple(MethodLine(name, groups) for name, groups in sorted(at.items()) if len(groups) > 1)
        if lines:
            found.append(MethodLines(Axis(axis.field, values, axis.label), lines))
    return found


def values_of(runs: Iterable[Run], field: str) -> tuple[Any, ...]:
    """The values that a field has in some runs, sorted where they are numbers alone.

    Raises:
        ValueError: no run has the field, or all have one value.
    """
    found: list[Any] = []
    for run in runs:
        value = value_at(run.experiment, field)
        if value is not None and value not in found:
            found.append(value)
    if len(found) < 2:
        raise ValueError(f"An axis needs a field of which runs have two values or more, got {field!r} with {found}.")
    numbers = all(isinstance(value, int | float) for value in found)
    return tuple(sorted(found) if numbers else sorted(found, key=repr))


def places(lines: MethodLines) -> list[AxisPoint]:
    """The outcome at each value at which two methods were run."""
    found = []
    for position, value in enumerate(lines.axis.values):
        groups = {line.name: line.groups[position] for line in lines.lines if position in line.groups}
        ranked = sorted(groups, key=lambda name: groups[name].score().mean, reverse=True)
        if len(ranked) < 2:
            continue
        best, *others = ranked
        behind = {name: difference(groups[best], groups[name]) for name in others}
        level = tuple(name for name in others if not is_clear(behind[name]))
        clear = [name for name in others if name not in level]
        alone = {name: _clearly_over(name, ranked, groups) for name in (best, *level) if _is_local(groups[name])}
        local = tuple(name for name, better in alone.items() if better is None)
        over_local = None if local else next(iter(alone.values()), None)
        ahead = (clear[0], behind[clear[0]]) if clear else None
        found.append(AxisPoint(value, best, level, local, over_local, ahead))
    return found


def crossings(lines: MethodLines) -> list[Crossing]:
    """All pairs of methods of which each is clearly ahead of the other somewhere along the axis."""
    found = []
    for a, b in combinations(lines.lines, 2):
        shared = sorted(a.groups.keys() & b.groups.keys())
        differences = {at: difference(a.groups[at], b.groups[at]) for at in shared}
        clear = [at for at in shared if is_clear(differences[at]) or is_clear(_turned(differences[at]))]
        for one, next_one in zip(clear, clear[1:], strict=False):
            before, after = differences[one], differences[next_one]
            if (before.mean > 0) != (after.mean > 0):
                if before.mean > 0:
                    found.append(Crossing(a.name, b.name, (one, next_one), (before, after)))
                else:
                    found.append(Crossing(b.name, a.name, (one, next_one), (_turned(before), _turned(after))))
    return found


def difference(a: Group, b: Group) -> Difference:
    """a − b over the seeds that both have; without an interval where they share none."""
    if not set(a.seeds) & set(b.seeds):
        return Difference(a.score().mean - b.score().mean, None, None, ())
    return paired_difference(a.runs, b.runs)


def is_clear(difference: Difference) -> bool:
    """True where the whole interval lies above 0."""
    return difference.low is not None and difference.low > 0


def _turned(difference: Difference) -> Difference:
    mean, low, high = (None if end is None else -end for end in difference[:3])
    return difference._replace(mean=mean, low=high, high=low)


def _clearly_over(name: str, ranked: Sequence[str], groups: Mapping[str, Group]) -> tuple[str, Difference] | None:
    """The highest of those that are clearly better than one. The highest of all need not be: its seeds may spread."""
    others = ((other, difference(groups[other], groups[name])) for other in ranked if other != name)
    return next(((other, over) for other, over in others if is_clear(over)), None)


def _is_local(group: Group) -> bool:
    return class_name(group.runs[0].experiment["algorithm"]) == ALONE


def _family(run: Run, axis: Axis) -> Hashable:
    """The settings besides the axis and the method, as text."""
    kept = {key: value for key, value in settings(run.experiment).items() if key not in METHOD}
    return repr(sorted(_without(kept, axis.field.split(".")).items()))


def _without(table: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    first, *rest = path
    if not rest:
        return {key: value for key, value in table.items() if key != first}
    inner = table.get(first)
    return {**table, first: _without(dict(inner), rest)} if isinstance(inner, dict) else table
