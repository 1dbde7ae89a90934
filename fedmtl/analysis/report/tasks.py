"""Small multiples: a panel for each task."""

from collections.abc import Sequence

import numpy as np

from fedmtl.analysis.groups import Group
from fedmtl.analysis.report.curves import (
    BAND,
    FEW,
    PALE_BAND,
    curves_of,
    draw,
    interval_words,
    name_lines,
    new_figure,
    numbers_of,
    rounds_axis,
)  # fmt: skip
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.labels import text_size
from fedmtl.analysis.report.line_styles import line_styles
from fedmtl.analysis.report.scales import value_limits
from fedmtl.analysis.report.style import style

MAX_TASKS = 12
"""Most tasks with a panel; the table has all."""


def tasks(groups: Sequence[Group]) -> Picture | None:
    """A panel for each task: its metric over rounds; None with a task that is all, or where nothing was measured twice.

    The one task of a problem has its picture too where its metric is not the score.
    """
    metrics = {task: metric for group in groups for task, metric in group.metrics.items()}
    shown = {}
    for task in sorted(metrics)[:MAX_TASKS]:
        drawn = curves_of([g for g in groups if task in g.metrics], lambda group, task=task: group.curve(task))
        if any(np.isfinite(curve.mean).sum() > 1 for curve in drawn.values()):
            shown[task] = drawn
    if not shown:
        return None
    styles = line_styles(groups)
    names = list(dict.fromkeys(name for drawn in shown.values() for name in drawn))
    columns = _columns(len(shown))
    rows = -(-len(shown) // columns)
    with style():
        figure, panels = new_figure(names, rows, columns, 1.75 if rows > 1 else 2.2)
        for axes, (task, drawn) in zip(panels, shown.items(), strict=False):
            for name, curve in drawn.items():
                draw(axes, curve.rounds, curve, styles[name], BAND if len(names) <= FEW else PALE_BAND)
            rounds_axis(axes, drawn.values())
            axes.set_ylim(*value_limits([c.mean for c in drawn.values()], [c.half for c in drawn.values()]))
            metric = metrics[task]
            axes.set_title(_title(task, f"{metric.name} {'↑' if metric.higher_is_better else '↓'}"))
        for index, axes in enumerate(panels):
            if index >= len(shown):
                axes.set_axis_off()
            elif index + columns < len(shown):
                axes.set_xlabel("")
        ends = [min((row + 1) * columns, len(shown)) - 1 for row in range(rows)]
        last = [end for end in ends if (end + 1) % columns == 0 or columns == 1 or rows == 1]
        name_lines(figure, [panels[end] for end in last], [list(shown.values())[end] for end in last], styles, names)
    records = [
        {"task": task, "metric": metrics[task].name, "higher_is_better": metrics[task].higher_is_better, **record}
        for task, drawn in shown.items()
        for record in numbers_of(drawn, "value")
    ]
    left_out = f"; the first {MAX_TASKS} of {len(metrics)} tasks" if len(metrics) > MAX_TASKS else ""
    caption = f"The metric of each task over rounds{interval_words(groups)}{left_out}"
    return Picture("tasks", caption, figure, records)


def _title(task: str, metric: str) -> str:
    text = f"{task}: {metric}"
    return text if text_size(text, 8).width < 105 else f"{task}:\n{metric}"


def _columns(panels: int) -> int:
    return panels if panels < 4 else 2 if panels == 4 else 3
