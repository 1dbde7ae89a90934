"""Matrices as heat maps: of pairs of clients, and of true and predicted classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fedmtl.report.picture import Picture
from fedmtl.report.style import COLUMN, SMALL, style

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
