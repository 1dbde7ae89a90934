"""Score against a cost: the axis of costs, and the steps between the points that no other dominates."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from fedmtl.analysis.report.point_labels import NamedLine
from fedmtl.analysis.report.style import PALE


def limit_costs(axes: Axes, costs: Sequence[float]) -> None:
    """Make the x axis logarithmic, with room for labels beside the outer points; costs are above 0."""
    wide = max(10 ** (0.16 * np.log10(max(costs) / min(costs))), 1.6)
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / wide, max(costs) * wide)


def draw_steps(axes: Axes, best: Sequence[tuple[float, float]]) -> list[NamedLine]:
    """Draw the steps between the points (cost, score) of a front, in the order of cost; return the horizontal ones."""
    if len(best) < 2:
        return []
    left, right = axes.get_xlim()
    x = [*(cost or left for cost, _ in best), right]
    y = [*(score for _, score in best), best[-1][1]]
    axes.plot(
        x, y, drawstyle="steps-post", color="#d0d0d0", linewidth=2.5, zorder=1, solid_capstyle="butt", gid="pareto"
    )
    steps = [NamedLine("", score, PALE, start, end) for score, start, end in zip(y, x, x[1:], strict=False)]
    widest = max((i for i, (cost, _) in enumerate(best) if cost), key=lambda i: np.log10(x[i + 1] / x[i]))
    return [step._replace(name="Pareto line") if i == widest else step for i, step in enumerate(steps)]
