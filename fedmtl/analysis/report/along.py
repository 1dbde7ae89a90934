"""The picture of a comparison along an axis, and the section of the report that goes with it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedmtl.analysis.along import AxisPoint, Crossing, MethodLine, MethodLines, crossings, places
from fedmtl.analysis.groups import Group
from fedmtl.analysis.intervals import estimate
from fedmtl.analysis.report.curves import SCORE
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.labels import broken, column_width, freeze, label_ends
from fedmtl.analysis.report.line_styles import LineStyle, line_styles
from fedmtl.analysis.report.page import Shown, picture_lines
from fedmtl.analysis.report.style import SMALL, WIDE, style
from fedmtl.analysis.report.tables import ReportTable
from fedmtl.analysis.words import listed, sharing_sentence, signed
from fedmtl.core.markdown import table


def along_picture(lines: MethodLines, name: str = "along") -> Picture:
    """The mean score at the end over the axis: a line for each method, its 95 % interval as a band, and who is best."""
    styles = {line.name: own for line, own in zip(lines.lines, _styles(lines), strict=True)}
    best = {repr(place.value): _named_best(place) for place in places(lines)}
    numbers: list[dict[str, Any]] = []
    with style():
        figure = Figure(figsize=(WIDE, 2.9), layout="constrained")
        axes = figure.subplots()
        for line in lines.lines:
            own, at = styles[line.name], sorted(line.groups)
            found = [estimate(_scores(line.groups[position])) for position in at]
            axes.plot(
                at, [one.mean for one in found], color=own.color, linestyle=own.dashes, marker=own.marker,
                fillstyle=own.fill, markerfacecoloralt="white",
            )  # fmt: skip
            bands = np.array([(one.low, one.high) for one in found], float)
            axes.fill_between(at, bands[:, 0], bands[:, 1], color=own.color, alpha=0.15, linewidth=0)
            numbers += [
                {
                    "name": line.name, lines.axis.title: lines.axis.values[where], "score": one.mean,
                    "ci95": one.half, "best": best.get(repr(lines.axis.values[where])) == line.name,
                }
                for where, one in zip(at, found, strict=True)
            ]  # fmt: skip
        count = len(lines.axis.values)
        axes.set_xlim(-0.1, count - 1)
        axes.set_xticks(range(count), [_tick(value) for value in lines.axis.values])
        axes.set_xlabel(lines.axis.title)
        axes.set_ylabel(SCORE)
        _name_best(axes, lines, {name: own.color for name, own in styles.items()})
        freeze(figure, column_width([broken(each) for each in styles]))
        ends = {line.name: max(line.groups) for line in lines.lines}
        label_ends(
            axes, {line.name: (ends[line.name], _mean(line.groups[ends[line.name]])) for line in lines.lines}, styles
        )
    caption = f"Mean score over {lines.axis.title}; {_seeds(lines)}; above it the best method"
    return Picture(name, caption, figure, numbers)


def along_section(lines: MethodLines, shown: Shown) -> str:
    """Sentence, picture, scores, and differences from the baselines."""
    return "\n".join(
        [
            f"## Along {lines.axis.title}\n",
            f"{sharing_sentence(lines)}\n",
            picture_lines(shown),
            scores_table(lines).markdown,
            *_crossings(lines),
        ]
    )


def _styles(lines: MethodLines) -> list[LineStyle]:
    firsts = [_first(line) for line in lines.lines]
    styles = line_styles(firsts)
    return [styles[group.name] for group in firsts]


def _name_best(axes: Axes, lines: MethodLines, colors: dict[str, str]) -> None:
    """Above each value the best method; Local where nothing is clearly better than it."""
    positions = {repr(value): position for position, value in enumerate(lines.axis.values)}
    for place in places(lines):
        name = _named_best(place)
        axes.annotate(
            name + ("" if name in place.local or not place.level else " ≈"), (positions[repr(place.value)], 1), (0, 4),
            xycoords=axes.get_xaxis_transform(), textcoords="offset points", ha="center", fontsize=SMALL,
            color=colors[name],
        )  # fmt: skip
    axes.annotate(
        "best:",
        (0, 1),
        (-22, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=SMALL,
        color="#444444",
        ha="right",
    )


def _named_best(place: AxisPoint) -> str:
    """Local, where nothing is clearly better than it."""
    return next((name for name in (place.best, *place.level) if name in place.local), place.best)


def scores_table(lines: MethodLines) -> ReportTable:
    """The scores of the picture, and the best methods in words."""
    head = [lines.axis.title, *(line.name for line in lines.lines), "best"]
    rows = []
    outcome = {repr(place.value): place for place in places(lines)}
    for position, value in enumerate(lines.axis.values):
        cells = [_tick(value)]
        for line in lines.lines:
            cells.append(_score(line.groups[position]) if position in line.groups else "–")
        rows.append([*cells, _best(outcome.get(repr(value)))])
    return ReportTable(f"Mean score over {lines.axis.title}.", table(head, rows, left=(0, len(head) - 1)))


def _crossings(lines: MethodLines) -> list[str]:
    found = crossings(lines)
    text = "".join(f"- {_crossing(one, lines)}\n" for one in found) or "No two methods cross.\n"
    return [f"Where two methods cross, with 95 % intervals of the paired differences:\n\n{text}"]


def _crossing(one: Crossing, lines: MethodLines) -> str:
    before, after = (_tick(lines.axis.values[at]) for at in one.at)
    (first, then) = one.differences
    return f"{one.first} − {one.second}: {signed(first)} at {before}, {signed(then)} at {after}"


def _best(place: AxisPoint | None) -> str:
    if place is None:
        return "–"
    return place.best + (f", level with {listed(sorted(place.level))}" if place.level else "")


def _score(group: Group) -> str:
    mean, half = estimate(_scores(group))
    return f"{mean:.3f}" + ("" if half is None else f" ± {half:.3f}")


def _scores(group: Group) -> list[float]:
    return [run.score() for run in group.runs]


def _mean(group: Group) -> float:
    return float(np.mean(_scores(group)))


def _first(line: MethodLine) -> Group:
    return line.groups[min(line.groups)]


def _seeds(lines: MethodLines) -> str:
    counts = sorted({len(group.runs) for line in lines.lines for group in line.groups.values()})
    return f"mean and 95 % interval of {listed(counts, 'to')} seeds" if counts[-1] > 1 else "one seed"


def _tick(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
