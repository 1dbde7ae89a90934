"""Matrices as heat maps: of pairs of clients, and of true and predicted classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fedmtl.analysis.confusion import ConfusionMatrix
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.labels import broken
from fedmtl.analysis.report.style import COLUMN, SMALL, WIDE, style

MOST_TICKS = 24


def client_matrix(
    name: str, caption: str, what: str, clients: Sequence[str], rows: Sequence[Sequence[float | None]]
) -> Picture:
    """A matrix [K, K] of clients; white where there is no number, colours symmetric about 0 where signs differ."""
    values = np.array([[np.nan if number is None else number for number in row] for row in rows], float)
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (0.0, 1.0)
    signed = low < 0 < high
    bound = max(-low, high)
    with style():
        figure = Figure(figsize=(COLUMN, 2.9), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(
            values, cmap="RdBu_r" if signed else "viridis", vmin=-bound if signed else low,
            vmax=bound if signed else high,
        )  # fmt: skip
        axes.grid(False)
        step = max(1, -(-len(clients) // MOST_TICKS))
        shown = range(0, len(clients), step)
        axes.set_xticks(shown, [clients[k] for k in shown], rotation=90)
        axes.set_yticks(shown, [clients[k] for k in shown])
        axes.set_xlabel("client")
        axes.set_ylabel("client")
        bar = figure.colorbar(image, ax=axes, shrink=0.9)
        bar.set_label(what, fontsize=SMALL)
    numbers = [
        {"client": one, "other": other, "value": number}
        for one, row in zip(clients, rows, strict=True)
        for other, number in zip(clients, row, strict=True)
    ]
    return Picture(name, caption, figure, numbers)


def confusion_matrices(name: str, task: str, panels: Sequence[tuple[str, ConfusionMatrix]]) -> Picture:
    """A panel for each group: the share of each class (row) that was predicted as each (column)."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    numbers = [
        {"name": group, "truth": truth, "predicted": predicted, "count": count, "examples": sum(row) + lost}
        for group, found in panels
        for truth, row, lost in zip(found.names, found.counts, found.without, strict=True)
        for predicted, count in zip(found.names, row, strict=True)
    ]
    with style():
        width = COLUMN if columns == 1 else WIDE
        figure = Figure(figsize=(width, round(rows * (2.9, 3.0, 2.3)[columns - 1], 2)), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        image = None
        for index, axes in enumerate(grid):
            if index >= len(panels):
                axes.set_axis_off()
                continue
            group, found = panels[index]
            sizes = np.array([sum(row) + lost for row, lost in zip(found.counts, found.without, strict=True)], float)
            shares = np.array(found.counts, float) / np.where(sizes > 0, sizes, np.nan)[:, None]
            image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            axes.grid(False)
            step = max(1, -(-len(found.names) // 12))
            shown = range(0, len(found.names), step)
            upright = max(len(found.names[k]) for k in shown) <= 2
            axes.set_xticks(shown, [found.names[k] for k in shown], rotation=0 if upright else 90)
            axes.set_yticks(shown, [found.names[k] for k in shown] if index % columns == 0 else [])
            axes.set_title(broken(group), fontsize=SMALL)
            if index % columns == 0:
                axes.set_ylabel("true class")
            if index + columns >= len(panels):
                axes.set_xlabel("predicted class")
        if image is not None:
            bar = figure.colorbar(image, ax=grid, shrink=0.8)
            bar.set_label("share of the true class", fontsize=SMALL)
    caption = f"Task {task}: the class that was predicted for the test examples of each class"
    return Picture(name, caption, figure, numbers)
