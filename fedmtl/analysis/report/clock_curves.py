"""Curves over the simulated clock: what was reached, after how many simulated seconds and for how many joules."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fedmtl.analysis.groups import Group, MeanCurve
from fedmtl.analysis.report.curves import (
    BAND,
    FEW,
    PALE_BAND,
    SCORE,
    curves_of,
    draw,
    interval_words,
    name_lines,
    new_figure,
)
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.line_styles import line_styles
from fedmtl.analysis.report.scales import value_limits
from fedmtl.analysis.report.style import style
from fedmtl.analysis.simulated import Spent, mean_spent, spent_by_round


class ClockCurve(NamedTuple):
    """The mean score of a group, and the mean over its seeds of what each of its models took."""

    curve: MeanCurve
    spent: list[Spent]
    """Means at each of the curve's rounds."""


def over_clock(groups: Sequence[Group]) -> Picture | None:
    """Mean score over simulated seconds, beside simulated joules; None where no run with a clock was measured twice.

    Joules have a panel where some are not 0. Groups without a clock are not drawn.
    """
    drawn = _with_clock(groups)
    if not any(np.isfinite(one.curve.mean).sum() > 1 for one in drawn.values()):
        return None
    styles = line_styles(groups)
    radio = any(spent.joules for one in drawn.values() for spent in one.spent)
    with style():
        figure, panels = new_figure(list(drawn), 1, 1 + radio, 2.5)
        for place, (axes, label) in enumerate(zip(panels, Spent._fields, strict=False)):
            for name, one in drawn.items():
                band = BAND if len(drawn) <= FEW else PALE_BAND
                draw(axes, [spent[place] for spent in one.spent], one.curve, styles[name], band)
            _clock_axis(axes, f"simulated {label}", max(one.spent[-1][place] for one in drawn.values()))
            curves = [one.curve for one in drawn.values()]
            axes.set_ylim(*value_limits([curve.mean for curve in curves], [curve.half for curve in curves]))
            axes.tick_params(labelleft=not place, left=not place)
        panels[0].set_ylabel(SCORE)
        ends: dict[str, Any] = {
            name: one.curve._replace(rounds=[spent[len(panels) - 1] for spent in one.spent])
            for name, one in drawn.items()
        }
        name_lines(figure, [panels[-1]], [ends], styles)
    caption = f"Mean score over simulated seconds{' and simulated joules' if radio else ''}{interval_words(groups)}"
    return Picture("clock", caption, figure, [record for name, one in drawn.items() for record in _numbers(name, one)])


def _with_clock(groups: Sequence[Group]) -> dict[str, ClockCurve]:
    found = {}
    for name, curve in curves_of(groups, Group.score_curve).items():
        (group,) = (one for one in groups if one.name == name)
        each = [spent_by_round(run) for run in group.finished]
        spent = [mean_spent([one.get(round) for one in each]) for round in curve.rounds]
        known = [one for one in spent if one is not None]
        if known and len(known) == len(spent):
            found[name] = ClockCurve(curve, known)
    return found


def _clock_axis(axes: Axes, label: str, most: float) -> None:
    axes.set_xlabel(label)
    axes.set_xlim(0, most or 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _numbers(name: str, one: ClockCurve) -> list[dict[str, Any]]:
    curve = one.curve
    halves = curve.half or [None] * len(curve.mean)
    return [
        {"name": name, "round": round, "simulated_seconds": spent.seconds, "simulated_joules": spent.joules,
         "score": mean, "ci95": half}
        for round, spent, mean, half in zip(curve.rounds, one.spent, curve.mean, halves, strict=True)
    ]  # fmt: skip
