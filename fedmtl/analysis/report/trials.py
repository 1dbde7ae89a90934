"""Trials of a search: score against each cost, a point for each trial, and the front."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedmtl.analysis.fronts import COLUMNS
from fedmtl.analysis.report.cost_axis import draw_steps, limit_costs
from fedmtl.analysis.report.curves import BYTES, NO_BYTES, SCORE, log_axis
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.labels import freeze
from fedmtl.analysis.report.pareto import pareto
from fedmtl.analysis.report.point_labels import NamedLine, PointMark, label_points
from fedmtl.analysis.report.scales import point_limits, tick_label
from fedmtl.analysis.report.style import INK, PALE, WIDE, style


class TrialPoint(NamedTuple):
    """A trial with a score."""

    name: str
    """Its number."""
    score: float
    """On validation parts."""
    costs: tuple[float, ...]
    front: bool
    """No other trial is as good in every objective, and better in one."""


LABELS = {"bytes": BYTES, "seconds": "simulated seconds", "joules": "simulated joules"}
"""Cost -> name of its axis."""


def trial_picture(points: Sequence[TrialPoint], costs: Sequence[str]) -> Picture | None:
    """Score against each cost, a panel each; None where no panel has a trial that costs something.

    Filled points are on the front of all objectives; the steps of a panel are those of its own two.

    Args:
        points: trials with a finite score and finite costs.
        costs: keys of ``LABELS``, in the order of the points' costs.
    """
    if not any(cost for point in points for cost in point.costs):
        return None
    with style():
        figure = Figure(figsize=(WIDE, 2.9), layout="constrained")
        panels: list[Axes] = figure.subplots(1, len(costs), squeeze=False).ravel().tolist()
        for place, (axes, cost) in enumerate(zip(panels, costs, strict=True)):
            limit_costs(axes, [point.costs[place] for point in points if point.costs[place]] or [1.0])
            log_axis(axes, LABELS[cost], tick_label if cost == "bytes" else "{:g}".format, 8 // len(costs))
            axes.set_ylim(*point_limits([point.score for point in points], [None] * len(points)))
            axes.tick_params(labelleft=not place, left=not place)
        panels[0].set_ylabel(f"{SCORE}, validation parts")
        freeze(figure, 0)
        for place, axes in enumerate(panels):
            _draw(axes, points, place)
    names = [COLUMNS[cost] for cost in costs]
    records: list[dict[str, Any]] = [
        {"trial": own.name, "score": own.score, **dict(zip(names, own.costs, strict=True)), "front": int(own.front)}
        for own in points
    ]
    caption = (
        f"Score on validation parts against {' and '.join(LABELS[cost] for cost in costs)}, a point for each trial; "
        "filled: no other trial is as good in every objective and better in one"
    )
    return Picture("tradeoff", caption, figure, records)


def _draw(axes: Axes, points: Sequence[TrialPoint], place: int) -> None:
    """The trials over one cost; a level line for one that costs nothing, which a logarithmic axis has no place for."""
    pairs = [(point.costs[place], point.score) for point in points]
    steps = draw_steps(axes, [pairs[index] for index in pareto(pairs)])
    for point, (cost, score) in zip(points, pairs, strict=True):
        color = INK if point.front else PALE
        if cost:
            axes.plot(cost, score, "o", color=color, fillstyle="full" if point.front else "none", zorder=3)
        else:
            axes.axhline(score, color=color, linestyle=NO_BYTES, linewidth=1, zorder=2)
    front = [(point, cost) for point, (cost, _) in zip(points, pairs, strict=True) if point.front]
    marks = [PointMark(point.name, cost, point.score, None) for point, cost in front if cost]
    lines = [NamedLine(f"{point.name}, 0", point.score, PALE) for point, cost in front if not cost]
    label_points(axes, marks, lines, [], steps)
