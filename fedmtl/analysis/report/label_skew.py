"""A picture of a federation's labels: for each task, the labels of each client."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.line_styles import PALETTE
from fedmtl.analysis.report.style import SMALL, WIDE, style
from fedmtl.data.base import Federation
from fedmtl.data.skew import LabelSkew

MOST_CLIENTS = 200
"""Bars of a panel; of more clients, evenly many are shown."""

MOST_WRITTEN = 40
"""Clients of a panel with numbers beside bars."""

MOST_NAMES = 12
"""Classes in a legend."""

ROW, LEAST, MOST = 0.11, 1.8, 9.0
"""Inches: a client, and a figure."""


def label_picture(name: str, federation: Federation, skews: Mapping[str, LabelSkew]) -> Picture:
    """A panel a task with a bar a client, counts of its labels; of tasks of numbers, mean and standard deviation."""
    clients = federation.ids()
    some = np.unique(np.linspace(0, len(clients) - 1, min(len(clients), MOST_CLIENTS)).round().astype(int))
    shown = clients[some]
    names = [federation.client_names.get(client, str(client)) for client in shown.tolist()]
    columns = min(3, len(skews))
    rows = -(-len(skews) // columns)
    height = float(np.clip(rows * (1.0 + ROW * len(shown)), LEAST, MOST * min(rows, 2)))
    with style():
        figure = Figure(figsize=(WIDE, height), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, skew in zip(panels.flat, skews.values(), strict=False):
            draw = _draw_counts if skew.names else _draw_numbers
            draw(axes, skew, {int(client): place for place, client in enumerate(shown)})
            axes.set_title(f"{skew.task} (skew {skew.skew:.2f})")
            axes.grid(False, axis="y")
        for axes in panels.flat[len(skews) :]:
            axes.set_axis_off()
        step = max(1, -(-len(shown) // 60))
        panels[0, 0].set_yticks(range(0, len(shown), step), names[::step])
        panels[0, 0].set_ylim(len(shown) - 0.4, -0.6)
    rest = "" if len(shown) == len(clients) else f" {len(shown)} of {len(clients)} clients are shown."
    written = " Beside a bar: the client's distance from all clients." if len(shown) <= MOST_WRITTEN else ""
    caption = f"Labels of each client of {name}, training and test examples together.{written}{rest}"
    return Picture("labels", caption, figure, [row for skew in skews.values() for row in _numbers(skew)])


def _draw_counts(axes: Axes, skew: LabelSkew, places: Mapping[int, int]) -> None:
    """Stacked bars of the labels of each class."""
    own = [row for row, client in enumerate(skew.clients.tolist()) if client in places]
    at = [places[int(skew.clients[row])] for row in own]
    left = np.zeros(len(own))
    for place, (label, color) in enumerate(zip(skew.names, _colors(len(skew.names)), strict=True)):
        counts = skew.counts[own, place]
        legend = label if place < MOST_NAMES else None
        axes.barh(at, counts, 0.8, left, color=color, label=legend, linewidth=0)
        left += counts
    if len(places) <= MOST_WRITTEN:
        for row, place, end in zip(own, at, left, strict=True):
            if end:
                axes.annotate(
                    f"{skew.own[row]:.2f}",
                    (end, place),
                    (2, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=SMALL,
                )
        axes.set_xlim(0, 1.12 * max(left.max(initial=0), 1))
    axes.set_xlabel("labels")
    more = f"{len(skew.names)} classes" if len(skew.names) > MOST_NAMES else None
    below = offset_copy(axes.transAxes, axes.get_figure(root=True), y=-28, units="points")  # of the axis and its label
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, ncols=3, borderpad=0, columnspacing=1,
        fontsize=SMALL, title=more, title_fontsize=SMALL, handlelength=0.8,
    )  # fmt: skip


def _draw_numbers(axes: Axes, skew: LabelSkew, places: Mapping[int, int]) -> None:
    """Mean and standard deviation of the labels of each client."""
    own = [row for row, client in enumerate(skew.clients.tolist()) if client in places and skew.labelled[row]]
    at = [places[int(skew.clients[row])] for row in own]
    axes.errorbar(
        skew.means[own], at, xerr=skew.stds[own], fmt="o", color=PALETTE[0], markersize=2, elinewidth=0.6,
    )  # fmt: skip
    axes.set_xlabel("mean ± standard deviation")


def _colors(count: int) -> list[Any]:
    """A colour for each class: the report's own, or shades where those are too few."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    shades = matplotlib.colormaps["turbo"]
    return [shades(place) for place in np.linspace(0.05, 0.95, count)]


def _numbers(skew: LabelSkew) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for row, client in enumerate(skew.clients.tolist()):
        if skew.names:
            for name, count in zip(skew.names, skew.counts[row].tolist(), strict=True):
                rows.append({"task": skew.task, "client": client, "label": name, "count": count})
        else:
            values = {"mean": float(skew.means[row]), "std": float(skew.stds[row])}
            rows += [{"task": skew.task, "client": client, "label": key, "count": n} for key, n in values.items()]
    return rows
