"""Curves: what was reached, after how many rounds and for how many bytes, of the runs that have finished."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from fedmtl.analysis.groups import Group, MeanCurve
from fedmtl.analysis.intervals import LEAST_SEEDS
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.labels import broken, column_width, fits, freeze, label_ends, legend, legend_columns
from fedmtl.analysis.report.line_styles import LineStyle, line_styles
from fedmtl.analysis.report.point_labels import NamedLine, label_lines
from fedmtl.analysis.report.scales import tick_digits, tick_label, value_limits
from fedmtl.analysis.report.style import INK, WIDE, style

SCORE = "mean score over tasks"
BYTES = "training bytes, both directions"
NO_BYTES = (0, (4, 3))
TARGET = (0, (1, 1.5))

FEW = 5
"""Most groups whose bands can be distinguished."""
BAND, PALE_BAND = 0.15, 0.06
"""Opacity of a band."""

MAX_LABELS = 16
"""Most lines with labels at their ends; more have a legend."""


def overview(groups: Sequence[Group], target: float | None = None) -> Picture | None:
    """Mean score over bytes, beside mean score over rounds; None where no run was measured twice."""
    drawn = curves_of(groups, Group.score_curve)
    if not any(np.isfinite(curve.mean).sum() > 1 for curve in drawn.values()):
        return None
    styles = line_styles(groups)
    sends = any(any(curve.bytes) for curve in drawn.values())
    with style():
        figure, panels = new_figure(list(drawn), 1, 1 + sends, 2.5)
        right = panels[-1]
        for name, curve in drawn.items():
            draw(right, curve.rounds, curve, styles[name], BAND if len(drawn) <= FEW else PALE_BAND)
        rounds_axis(right, drawn.values())
        right.set_ylim(*value_limits([c.mean for c in drawn.values()], [c.half for c in drawn.values()]))
        if sends:
            over_bytes(panels[0], drawn, styles)
            panels[0].set_ylim(right.get_ylim())
            right.tick_params(labelleft=False, left=False)
        panels[0].set_ylabel(SCORE)
        low, high = right.get_ylim()
        wanted = target if target is not None and low < target < high else None
        for axes in panels:
            if wanted is not None:
                axes.axhline(wanted, color=INK, linewidth=0.7, linestyle=TARGET, zorder=1)
        name_lines(figure, [right], [drawn], styles)
        lines = [] if wanted is None else [NamedLine(f"target {wanted:g}", wanted, INK)]
        if sends:
            lines += [NamedLine(f"{n}, 0 B", c.mean[-1], styles[n].color) for n, c in drawn.items() if not any(c.bytes)]
        label_lines(panels[0], lines)
    caption = (
        "Mean score " + ("over the bytes of training, and " if sends else "") + f"over rounds{interval_words(groups)}"
    )
    aim = {} if target is None else {"target": target}
    return Picture("overview", caption, figure, [record | aim for record in numbers_of(drawn)])


def bytes_axis(axes: Axes, most: int = 8) -> None:
    """Make the x axis one of bytes, logarithmic, with at most a number of ticks."""
    log_axis(axes, BYTES, tick_label, most)


def log_axis(axes: Axes, label: str, text_of: Callable[[float], str], most: int = 8) -> None:
    """Make the x axis logarithmic, with at most a number of ticks, whose texts a function gives."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=tick_digits(*axes.get_xlim(), most)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text_of(value)))
    axes.set_xlabel(label)


def curves_of(groups: Sequence[Group], curve_of: Callable[[Group], MeanCurve]) -> dict[str, MeanCurve]:
    """Curves with a number, of groups with a finished run. An unfinished run's first rounds are no floor."""
    curves = {group.name: curve_of(group) for group in groups if group.finished}
    return {name: curve for name, curve in curves.items() if np.isfinite(curve.mean).any()}


def over_bytes(axes: Axes, drawn: Mapping[str, MeanCurve], styles: Mapping[str, LineStyle]) -> None:
    """Draw curves over training bytes; one that sends nothing is a level line, at its last value."""
    for name, curve in drawn.items():
        own, bytes = styles[name], [count or np.nan for count in curve.bytes]
        if not any(curve.bytes):  # a logarithmic axis has no place for 0
            axes.axhline(curve.mean[-1], color=own.color, linestyle=NO_BYTES, linewidth=1)
        elif len(set(curve.bytes) - {0}) == 1:  # all is sent before training: a point, not a vertical line
            axes.plot(bytes[-1], curve.mean[-1], color=own.color, marker=own.marker, fillstyle=own.fill)
        else:
            draw(axes, bytes, curve, own, 0.0 if len(drawn) > FEW else BAND)
    bytes_axis(axes, 4)


def draw(axes: Axes, x: Sequence[float], curve: MeanCurve, own: LineStyle, band: float) -> None:
    mean = np.array(curve.mean)
    # matplotlib can neither space markers along a line without a point, nor find a logarithmic axis for it.
    if not (np.isfinite(x) & np.isfinite(mean)).any():
        return
    if curve.half is not None and band:
        half = np.array(curve.half)
        axes.fill_between(x, mean - half, mean + half, color=own.color, alpha=band, linewidth=0)
    axes.plot(
        x, mean, color=own.color, linestyle=own.dashes, marker=own.marker, fillstyle=own.fill,
        markerfacecoloralt="white", markevery=0.17,
    )  # fmt: skip


def rounds_axis(axes: Axes, curves: Any) -> None:
    axes.set_xlabel("rounds")
    axes.set_xlim(0, max(1, *(curve.rounds[-1] for curve in curves), 1))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))


def new_figure(names: Sequence[str], rows: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page, with some inches of height a row, and more for a legend."""
    lines = 0 if _direct(names, height) else -(-len(names) // legend_columns(WIDE, names))
    figure = Figure(figsize=(WIDE, round(rows * height + 0.16 * lines, 2)), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).ravel().tolist()


def _direct(names: Sequence[str], height: float) -> bool:
    return len(names) <= MAX_LABELS and fits(names, height - 0.45) and column_width(names) < 0.35 * WIDE


def name_lines(
    figure: Figure,
    panels: Sequence[Axes],
    drawn: Sequence[Mapping[str, MeanCurve]],
    styles: Mapping[str, LineStyle],
    names: Sequence[str] | None = None,
) -> None:
    """Labels right of the last panel of each row; a legend where not all have room or an end there."""
    names = list(drawn[0]) if names is None else names
    height = figure.get_figheight() / len(panels)
    if not (_direct(names, height) and all(name in curves for curves in drawn for name in names)):
        legend(figure, names, styles, lines=True)
        return
    freeze(figure, column_width([broken(name) for name in names]))
    for axes, curves in zip(panels, drawn, strict=True):
        label_ends(axes, {name: _end(curve) for name, curve in curves.items()}, styles)


def _end(curve: MeanCurve) -> tuple[float, float]:
    found = [(r, mean) for r, mean in zip(curve.rounds, curve.mean, strict=True) if isfinite(mean)]
    return float(found[-1][0]), found[-1][1]


def numbers_of(drawn: Mapping[str, MeanCurve], what: str = "score") -> list[dict[str, Any]]:
    return [
        {"name": name, "round": r, "train_bytes": count, what: mean, "ci95": half}
        for name, curve in drawn.items()
        for r, count, mean, half in zip(
            curve.rounds, curve.bytes, curve.mean, curve.half or [None] * len(curve.mean), strict=True
        )
    ]


def interval_words(groups: Sequence[Group]) -> str:
    """The end of a caption: what a line or point and its interval are over; empty with one seed."""
    counts = [len(group.finished) for group in groups if group.finished]
    fewest, most = min(counts), max(counts)
    if most == 1:
        return ""
    over = most if fewest == most else f"{fewest} to {most}"
    return f"; mean{' and 95 % interval' if most >= LEAST_SEEDS else ''} over {over} seeds"
