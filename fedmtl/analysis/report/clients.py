"""The final score of every client: a box and points for each group."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedmtl.analysis.groups import Group
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.labels import broken
from fedmtl.analysis.report.line_styles import LineStyle, line_styles
from fedmtl.analysis.report.scales import left_end
from fedmtl.analysis.report.style import PALE, SMALL, WIDE, style


def clients(groups: Sequence[Group], named: Mapping[int, str] | None = None) -> Picture | None:
    """A row for each group, the clients of all seeds together; None where no run measured two clients.

    Args:
        groups: those of a problem.
        named: client -> the name that the user gave it.
    """
    names = named or {}
    finished = [group for group in groups if group.finished]
    numbers = [
        {"name": group.name, "seed": run.seed, "client": client, "client_name": names.get(client, ""), "score": score}
        for group in finished
        for run in group.finished
        for client, score in run.client_scores().items()
    ]
    scores = {g.name: np.array([n["score"] for n in numbers if n["name"] == g.name]) for g in finished}
    if len({number["client"] for number in numbers}) < 2:
        return None
    if not any(np.isfinite(values).any() for values in scores.values()):
        return None
    finite = {name: values[np.isfinite(values)] for name, values in scores.items()}
    left = left_end([values for values in finite.values() if values.size])
    with style():
        figure = Figure(figsize=(WIDE, round(0.55 + 0.3 * len(finished), 2)), layout="constrained")
        axes = figure.subplots()
        for row, (name, values) in enumerate(finite.items()):
            if values.size:
                _box(axes, row, values, line_styles(groups)[name])
            off = int((values < left).sum()) if left is not None else 0
            diverged = scores[name].size - values.size
            _note(axes, row, [f"◂ {off} more"] * bool(off) + [f"{diverged} diverged"] * bool(diverged))
        axes.set_xlim(left=left)
        axes.set_yticks(range(len(finished)), [broken(group.name) for group in finished])
        axes.set_ylim(len(finished) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("score of a client, mean over its tasks")
    seeds = ", clients of all seeds together" if any(len(group.finished) > 1 for group in finished) else ""
    caption = f"Score of every client at the end{seeds}; box: quartiles and median, line: 10 % to 90 %"
    return Picture("clients", caption, figure, numbers)


def _box(axes: Axes, row: int, values: np.ndarray, style: LineStyle) -> None:
    ends = np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9])
    axes.hlines([row, row], ends[[0, 3]], ends[[1, 4]], color=style.color, linewidth=1)
    axes.barh(row, ends[3] - ends[1], 0.6, ends[1], color=style.color, alpha=0.25)
    axes.vlines(ends[2], row - 0.3, row + 0.3, color=style.color, linewidth=1.8)
    # Points are spread by a fixed wave, not at random, so that a picture is the same each time.
    wave = 0.24 * np.sin(2.4 * np.arange(values.size))
    alpha = float(np.clip(30 / values.size, 0.08, 0.55))
    axes.scatter(values, row + wave, s=5, color=style.color, alpha=alpha, linewidths=0, zorder=3)


def _note(axes: Axes, row: int, words: Sequence[str]) -> None:
    """At the left end of a row: the clients that have no place on the axis."""
    if words:
        axes.annotate(
            ", ".join(words), (0, row), (3, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            color=PALE, fontsize=SMALL, va="center",
        )  # fmt: skip
