"""Score against bytes: a point for each group, the Pareto line, and what compression saves."""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedmtl.analysis.groups import Group
from fedmtl.analysis.report.cost_axis import draw_steps, limit_costs
from fedmtl.analysis.report.curves import NO_BYTES, SCORE, TARGET, bytes_axis, interval_words
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.labels import freeze, legend
from fedmtl.analysis.report.line_styles import LineStyle, line_styles
from fedmtl.analysis.report.pareto import pareto
from fedmtl.analysis.report.point_labels import Arrow, NamedLine, PointMark, label_points
from fedmtl.analysis.report.scales import point_limits
from fedmtl.analysis.report.style import INK, PALE, WIDE, style
from fedmtl.analysis.savings import savings as compressed

CENTRAL = "Pooled"
"""The ceiling gathers the data, so it is no point of the Pareto line."""


class Point(NamedTuple):
    """A group with a finished run."""

    group: Group
    cost: float
    """Training bytes, mean over seeds."""
    score: float
    half: float | None


class DrawnSaving(NamedTuple):
    """One method, compressed against dense."""

    dense: Point
    small: Point
    factor: float
    """Factor by which there are fewer bytes."""
    difference: float
    """Score, compressed minus dense, over the seeds that both have."""

    @property
    def words(self) -> str:
        """``11× fewer bytes, −.004``."""
        return f"{self.factor:.{1 if self.factor < 9.95 else 0}f}× fewer bytes, {_signed(self.difference)}"


def tradeoff(groups: Sequence[Group], target: float | None = None) -> Picture | None:
    """The final mean score against the bytes of the whole training; None with fewer than two points."""
    points = points_of(groups)
    if len(points) < 2 or not any(point.cost for point in points):
        return None
    styles, saved = line_styles(groups), savings(points)
    best = [points[i] for i in _pareto(points)]
    with style():
        figure = Figure(figsize=(WIDE, round(2.9 + 0.06 * max(0, len(points) - 8), 2)), layout="constrained")
        axes = figure.subplots()
        _limits(axes, points, target)
        bytes_axis(axes)
        axes.set_ylabel(SCORE)
        freeze(figure, 0)
        steps = draw_steps(axes, [(point.cost, point.score) for point in best])
        for point in points:
            _mark(axes, point, styles[point.group.name])
        for saving in saved:
            _arrow(axes, saving, styles[saving.small.group.name])
        marks = [PointMark(point.group.name, point.cost, point.score, point.half) for point in points if point.cost]
        lines = [NamedLine(f"{point.group.name}, 0 B", point.score, PALE) for point in points if not point.cost]
        if target is not None and axes.get_ylim()[0] < target < axes.get_ylim()[1]:
            axes.axhline(target, color=INK, linewidth=0.7, linestyle=TARGET, zorder=1)
            lines.append(NamedLine(f"target {target:g}", target, INK))
        arrows = [
            Arrow(
                s.words, styles[s.small.group.name].color, (s.dense.cost, s.dense.score), (s.small.cost, s.small.score)
            )
            for s in saved
        ]
        if not label_points(axes, marks, lines, arrows, steps):
            figure.set_layout_engine("constrained")
            legend(figure, [point.group.name for point in points if point.cost], styles, lines=False)
    stepped = (
        "; stepped line: no method that leaves data at the clients reaches more for fewer" if len(best) > 1 else ""
    )
    caption = f"Final mean score against the bytes of the whole training{interval_words(groups)}{stepped}"
    numbers = [
        {
            "name": point.group.name, "train_bytes": point.cost, "score": point.score, "ci95": point.half,
            "pareto": int(point in best),
            "dense": next((s.dense.group.name for s in saved if s.small == point), ""),
            "fewer_bytes_than_dense": next((s.factor for s in saved if s.small == point), None),
            "score_minus_dense": next((s.difference for s in saved if s.small == point), None),
        }
        | ({} if target is None else {"target": target})
        for point in points
    ]  # fmt: skip
    return Picture("tradeoff", caption, figure, numbers)


def points_of(groups: Sequence[Group]) -> list[Point]:
    """A point for each group with a finished run and a score."""
    points = []
    for group in groups:
        score = group.score()
        if group.finished and isfinite(score.mean):
            cost = float(np.mean([run.training_bytes() for run in group.finished]))
            points.append(Point(group, cost, score.mean, score.half))
    return points


def savings(points: Sequence[Point]) -> list[DrawnSaving]:
    """Each compressed method against its dense one, the largest saving first; none where bytes do not fall."""
    at = {id(point.group): point for point in points}
    pairs = compressed([point.group for point in points])
    found = [DrawnSaving(at[id(one.dense)], at[id(one.small)], one.times, one.difference.mean) for one in pairs]
    return sorted((saving for saving in found if saving.factor > 1), key=lambda saving: -saving.factor)


def _pareto(points: Sequence[Point]) -> list[int]:
    own = [i for i, point in enumerate(points) if point.group.algorithm != CENTRAL]
    return [own[i] for i in pareto([(points[i].cost, points[i].score) for i in own])]


def _limits(axes: Axes, points: Sequence[Point], target: float | None) -> None:
    limit_costs(axes, [point.cost for point in points if point.cost])
    axes.set_ylim(*point_limits([point.score for point in points], [point.half for point in points], target))


def _mark(axes: Axes, point: Point, own: LineStyle) -> None:
    if point.cost:
        axes.errorbar(
            point.cost, point.score, yerr=point.half, color=own.color, marker=own.marker, markersize=6,
            fillstyle=own.fill, markerfacecoloralt="white", capsize=2, elinewidth=0.8, zorder=4,
        )  # fmt: skip
    else:
        axes.axhline(point.score, color=own.color, linestyle=NO_BYTES, linewidth=1, zorder=2)


def _arrow(axes: Axes, saving: DrawnSaving, own: LineStyle) -> None:
    axes.annotate(
        "", (saving.small.cost, saving.small.score), (saving.dense.cost, saving.dense.score), zorder=3,
        arrowprops={"arrowstyle": "->", "color": own.color, "linewidth": 0.7, "shrinkA": 5, "shrinkB": 5},
    )  # fmt: skip


def _signed(number: float) -> str:
    """``−.004``: three decimals, no zero before the point."""
    return f"{number:+z.3f}".replace("-", "−").replace("0.", ".", 1)
