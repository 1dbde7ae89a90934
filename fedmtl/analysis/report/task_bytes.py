"""The cost of each task: a panel for each, its metric over the bytes of training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fedmtl.analysis.groups import Group
from fedmtl.analysis.report.curves import curves_of, interval_words, numbers_of, over_bytes
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.labels import legend, legend_columns
from fedmtl.analysis.report.line_styles import line_styles
from fedmtl.analysis.report.scales import value_limits
from fedmtl.analysis.report.style import WIDE, style

MAX_TASKS = 6
"""Most tasks with a panel."""


def task_bytes(groups: Sequence[Group]) -> Picture | None:
    """The metric of each task over bytes; None where no task was measured. What sends nothing is a level line."""
    metrics = dict(sorted({task: metric for group in groups for task, metric in group.metrics.items()}.items()))
    shown = {
        task: drawn
        for task in list(metrics)[:MAX_TASKS]
        if (drawn := curves_of([g for g in groups if task in g.metrics], lambda group, task=task: group.curve(task)))
    }
    if not shown:
        return None
    names = list(dict.fromkeys(name for drawn in shown.values() for name in drawn))
    styles = line_styles(groups)
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    lines = -(-len(names) // legend_columns(WIDE, names))
    with style():
        figure = Figure(figsize=(WIDE, round(rows * 2.3 + 0.16 * lines, 2)), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        for axes, (task, drawn) in zip(panels, shown.items(), strict=False):
            axes.set_ylim(*value_limits([c.mean for c in drawn.values()], [c.half for c in drawn.values()]))
            if any(np.any(curve.bytes) for curve in drawn.values()):
                over_bytes(axes, drawn, styles)
            else:
                for name, curve in drawn.items():
                    axes.axhline(curve.mean[-1], color=styles[name].color)
            metric = metrics[task]
            axes.set_title(f"{task}: {metric.name} {'↑' if metric.higher_is_better else '↓'}")
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        legend(figure, names, styles, lines=True)
    records = [
        {"task": task, "metric": metrics[task].name, "higher_is_better": metrics[task].higher_is_better, **record}
        for task, drawn in shown.items()
        for record in numbers_of(drawn, "value")
    ]
    return Picture("task-bytes", f"The metric of each task over bytes{interval_words(groups)}", figure, records)
