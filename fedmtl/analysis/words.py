"""Findings of a comparison along an axis, in sentences: each word follows from the numbers."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from fedmtl.analysis.along import AxisPoint, MethodLines, along, places
from fedmtl.analysis.differences import Difference
from fedmtl.analysis.groups import Group, by_problem, group_runs
from fedmtl.analysis.numbers import human_bytes
from fedmtl.analysis.runs import Run
from fedmtl.analysis.savings import MOST_LOST, Saving, best_saving, savings
from fedmtl.runs.axis import Axis, value_at


def sentences(runs: Sequence[Run], axis: Axis | None, aliases: Mapping[Path, str] | None = None) -> list[str]:
    """One on who is best along the axis, and one on bytes for each problem where codecs were compared."""
    found = [sharing_sentence(lines) for lines in along(runs, axis, aliases)] if axis else []
    return found + saving_sentences(group_runs(runs, aliases), axis)


def saving_sentences(groups: Sequence[Group], axis: Axis | None = None) -> list[str]:
    """One for each problem where codecs were compared."""
    found = []
    for together in by_problem(groups).values():
        value = value_at(together[0].runs[0].experiment, axis.field) if axis else None
        where = f"{axis.title} = {value}" if axis and value is not None else ""
        found.append(saving_sentence(savings(together), where))
    return [sentence for sentence in found if sentence]


def sharing_sentence(lines: MethodLines) -> str:
    """Sentences on the best method of each range of values, and on the values where learning alone is enough."""
    found = places(lines)
    if not found:
        return f"No two methods have finished at one value of {lines.axis.title}."
    parts = [
        _stretch([place for _, place in stretch]) for _, stretch in groupby(enumerate(found), lambda p: _key(p[1]))
    ]
    return f"By {lines.axis.title}: {'; '.join(parts)}."


def saving_sentence(found: Sequence[Saving], where: str = "") -> str:
    """The largest saving of bytes that keeps the score; the smallest loss where none does; empty where none was run."""
    if not found:
        return ""
    best = best_saving(found)
    at = f"At {where}, " if where else ""
    if best is None:
        least = max(found, key=lambda saving: saving.difference.mean)
        text = f"no codec is within {MOST_LOST:g} of the score without it: {least.small.name} is nearest, "
        text += f"{signed(least.difference)} with {least.times:.1f} times fewer bytes"
    else:
        text = f"{best.small.name} sends {best.times:.1f} times fewer bytes than {best.dense.name}, "
        text += f"{human_bytes(best.small_bytes)} in place of {human_bytes(best.dense_bytes)}, "
        text += f"at a score difference of {signed(best.difference)}"
    return f"{at}{text}." if at else f"{text[0].upper()}{text[1:]}."


def signed(difference: Difference) -> str:
    """``+0.083 [+0.061, +0.105]``."""
    numbers = [difference.mean, *(end for end in (difference.low, difference.high) if end is not None)]
    mean, *ends = (f"{number:+z.3f}".replace("-", "−") for number in numbers)
    return f"{mean} [{', '.join(ends)}]" if ends else mean


def listed(names: Sequence[Any], last: str = "and") -> str:
    """``a, b and c``."""
    texts = [str(name) for name in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {last} {texts[-1]}"


def _key(place: AxisPoint) -> tuple[str, ...]:
    """Equal for places that one clause describes."""
    over = place.over_local[0] if place.over_local else ""
    return ("alone",) if place.local else (place.best, over, *sorted(place.level))


def _stretch(found: Sequence[AxisPoint]) -> str:
    """Neighbouring values with one outcome."""
    at = f"at {listed([place.value for place in found])}"
    first = found[0]
    if first.local:
        return f"{at} no method is clearly better than learning alone (Local), which sends nothing"
    level = f", level with {listed(sorted(first.level))}" if first.level else ""
    text = f"{at} {first.best} is best{level}"
    for place in found:
        if place.ahead is not None:
            name, difference = place.ahead
            text += f" ({signed(difference)} over {name}{_at(place, found)})"
            break
    if first.over_local is not None:
        name, difference = first.over_local
        text += f", and {name} is clearly better than learning alone ({signed(difference)}{_at(first, found)})"
    return text


def _at(place: AxisPoint, found: Sequence[AxisPoint]) -> str:
    """The value of a margin, where a clause is about several."""
    return f" at {place.value}" if len(found) > 1 else ""
