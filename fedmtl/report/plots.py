"""The pictures of a study: what was reached, after how many rounds and for how many bytes. The only user of matplotlib.

Every function takes the groups of one problem, each with a run that has finished, and gives a figure; nothing is drawn
on a screen, and no setting of matplotlib outside is touched.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from fedmtl.report.looks import Look, looks
from fedmtl.report.scales import left_end, tick_digits, tick_label, value_limits
from fedmtl.study.groups import Group, MeanCurve
from fedmtl.study.intervals import LEAST_SEEDS

DPI = 150
NO_BYTES = (0, (4, 3))
SCORE = "mean score over tasks (1 is perfect)"
BYTES = "training bytes, down + up, all clients (logarithmic)"

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.7,
    "lines.markersize": 5.5,
}


def overview(groups: Sequence[Group]) -> Figure:
    """Mean score over rounds, beside mean score over bytes."""
    return _two_panels(groups, looks(groups), Group.score_curve, SCORE, "Mean over tasks")


def task_picture(groups: Sequence[Group], task: str) -> Figure:
    """A task's metric over rounds, beside the same over bytes."""
    owners = [group for group in groups if task in group.metrics]
    metric = owners[0].metrics[task]
    ylabel = f"{metric.name} ({'higher' if metric.higher_is_better else 'lower'} is better)"
    return _two_panels(owners, looks(groups), lambda group: group.curve(task), ylabel, f"Task {task}")


def heat_map(clients: Sequence[int], rows: Sequence[Sequence[float | None]], title: str) -> Figure:
    """A matrix [K, K] of clients; white where there is no number, colours symmetric about 0 where signs differ."""
    values = np.array([[np.nan if number is None else number for number in row] for row in rows], float)
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (0.0, 1.0)
    signed = low < 0 < high
    with _style():
        figure = Figure(figsize=(6.2, 5.4), layout="constrained")
        axes = figure.subplots()
        bound = max(-low, high)
        image = axes.imshow(
            values,
            cmap="RdBu_r" if signed else "viridis",
            vmin=-bound if signed else low,
            vmax=bound if signed else high,
        )
        axes.grid(False)
        shown = range(0, len(clients), max(1, -(-len(clients) // 20)))
        axes.set_xticks(shown, [str(clients[k]) for k in shown], rotation=90)
        axes.set_yticks(shown, [str(clients[k]) for k in shown])
        axes.set_xlabel("client")
        axes.set_ylabel("client")
        axes.set_title(title)
        figure.colorbar(image, ax=axes)
        return figure


def tradeoff(groups: Sequence[Group]) -> Figure:
    """The final mean score against the bytes of the whole training: a point with its interval for each group."""
    look = looks(groups)
    with _style():
        figure, (axes,) = _figure(8.5, groups, 1)
        for group in groups:
            own, score = look[group.name], group.score()
            cost = float(np.mean([run.training_bytes() for run in group.finished]))
            if cost == 0:
                _line_without_bytes(axes, group.name, score.mean, score.half, own)
            elif isfinite(score.mean):
                axes.errorbar(
                    cost, score.mean, yerr=score.half, color=own.color, marker=own.marker, markersize=9,
                    fillstyle=own.fill, markerfacecoloralt="white", capsize=3, elinewidth=1.2,
                )  # fmt: skip
        axes.set_title("What was reached, and its price")
        axes.set_ylabel(SCORE)
        _bytes_axis(axes)
        _legend(figure, groups, look, lines=False)
        return figure


def clients(groups: Sequence[Group]) -> Figure:
    """The final score of every client: a box and points for each group, the clients of all seeds together."""
    scores = [np.array([s for run in group.finished for s in run.client_scores().values()]) for group in groups]
    finite = [values[np.isfinite(values)] for values in scores]
    left = left_end([values for values in finite if values.size])
    with _style():
        figure = Figure(figsize=(8.5, 1.3 + 0.5 * len(groups)), layout="constrained")
        axes = figure.subplots()
        for row, (group, values) in enumerate(zip(groups, finite, strict=True)):
            if values.size:
                _box(axes, row, values, looks(groups)[group.name])
            off = int((values < left).sum()) if left is not None else 0
            diverged = scores[row].size - values.size
            _note(axes, row, [f"◂ {off} more"] * bool(off) + [f"{diverged} diverged"] * bool(diverged))
        axes.set_xlim(left=left)
        axes.set_yticks(range(len(groups)), [group.name.replace(" · ", "\n").replace(" [", "\n[") for group in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("score of a client, mean over its tasks (1 is perfect)")
        axes.set_title("Every client at the end")
        return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG of ``DPI`` dots an inch; the same figure gives the same bytes."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def _two_panels(
    groups: Sequence[Group],
    look: dict[str, Look],
    curve_of: Callable[[Group], MeanCurve],
    ylabel: str,
    title: str,
) -> Figure:
    with _style():
        figure, (left, right) = _figure(11.5, groups, 2)
        curves = [curve_of(group) for group in groups]
        for group, curve in zip(groups, curves, strict=True):
            own = look[group.name]
            _draw(left, curve.rounds, curve, own)
            if not any(curve.bytes) and curve.mean:
                _line_without_bytes(right, group.name, curve.mean[-1], curve.half[-1] if curve.half else None, own)
            else:
                _draw(right, [count or np.nan for count in curve.bytes], curve, own)
        left.set_ylabel(ylabel)
        left.set_xlabel("rounds")
        left.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        left.set_title(f"{title}, by rounds")
        right.set_title(f"{title}, by bytes")
        _bytes_axis(right)
        left.set_ylim(*value_limits([curve.mean for curve in curves]))
        _legend(figure, groups, look, lines=True)
        return figure


def _draw(axes: Axes, x: Sequence[float], curve: MeanCurve, look: Look) -> None:
    mean = np.array(curve.mean)
    # matplotlib can neither space markers along a line without a point, nor find a logarithmic axis for it.
    if not (np.isfinite(x) & np.isfinite(mean)).any():
        return
    axes.plot(
        x, mean, color=look.color, linestyle=look.dashes, marker=look.marker, fillstyle=look.fill,
        markerfacecoloralt="white", markevery=0.1,
    )  # fmt: skip
    if curve.half is not None:
        half = np.array(curve.half)
        axes.fill_between(x, mean - half, mean + half, color=look.color, alpha=0.15, linewidth=0)


def _line_without_bytes(axes: Axes, name: str, mean: float, half: float | None, look: Look) -> None:
    # A logarithmic axis has no place for 0.
    axes.axhline(mean, color=look.color, linestyle=NO_BYTES)
    if isfinite(mean):
        axes.annotate(
            f"{name}, 0 B", (0, mean), (4, 3), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            color=look.color, fontsize=8,
        )  # fmt: skip
    if half is not None:
        axes.axhspan(mean - half, mean + half, color=look.color, alpha=0.1, linewidth=0)


def _box(axes: Axes, row: int, values: np.ndarray, look: Look) -> None:
    ends = np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9])
    axes.hlines([row, row], ends[[0, 3]], ends[[1, 4]], color=look.color, linewidth=1.2)
    axes.barh(row, ends[3] - ends[1], 0.55, ends[1], color=look.color, alpha=0.25)
    axes.vlines(ends[2], row - 0.275, row + 0.275, color=look.color, linewidth=2.2)
    # Points are spread by a fixed wave, not by chance, so that a picture is the same each time.
    spread = 0.22 * np.sin(2.4 * np.arange(values.size))
    alpha = float(np.clip(30 / values.size, 0.08, 0.55))
    axes.scatter(values, row + spread, s=11, color=look.color, alpha=alpha, linewidths=0, zorder=3)


def _note(axes: Axes, row: int, words: Sequence[str]) -> None:
    """At the left end of a row: the clients that have no place on the axis."""
    axes.annotate(
        ", ".join(words), (0, row), (3, -3), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        color="#444444", fontsize=8,
    )  # fmt: skip


def _bytes_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=tick_digits(*axes.get_xlim())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: tick_label(count)))
    axes.set_xlabel(BYTES)


def _legend(figure: Figure, groups: Sequence[Group], look: dict[str, Look], *, lines: bool) -> None:
    handles = [
        Line2D(
            [], [], color=own.color, marker=own.marker, fillstyle=own.fill, markerfacecoloralt="white",
            linestyle=own.dashes if lines else "none", label=group.name,
        )
        for group in groups
        for own in (look[group.name],)
        if lines or any(run.training_bytes() for run in group.finished)
    ]  # fmt: skip
    columns = _columns(figure.get_figwidth(), groups)
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, handlelength=3)
    figure.axes[-1].set_title(_seeds(groups), loc="right", fontsize=8, fontweight="normal", color="#666666")


def _seeds(groups: Sequence[Group]) -> str:
    fewest, most = (end(len(group.finished) for group in groups) for end in (min, max))
    if most == 1:
        return "one seed"
    band = " and its 95 % interval" if most >= LEAST_SEEDS else ""
    return f"mean{band} of {most if fewest == most else f'{fewest} to {most}'} seeds"


def _columns(width: float, groups: Sequence[Group]) -> int:
    # A letter of the legend is about 0.075 inch wide, and line and gaps about 0.8 inch.
    return max(1, int(width / (0.8 + 0.075 * max(len(group.name) for group in groups))))


def _figure(width: float, groups: Sequence[Group], panels: int) -> tuple[Figure, Sequence[Axes]]:
    legend_lines = -(-len(groups) // _columns(width, groups))
    figure = Figure(figsize=(width, round(3.9 + 0.2 * legend_lines, 1)), layout="constrained")
    return figure, figure.subplots(1, panels, sharey=True, squeeze=False)[0].tolist()


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(STYLE):
        yield
