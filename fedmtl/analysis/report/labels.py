"""Labels at the ends of lines, in a column right of a panel; a legend where they are too many for it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.transforms import Bbox

from fedmtl.analysis.report.line_styles import LineStyle
from fedmtl.analysis.report.placing import spread
from fedmtl.analysis.report.style import INK, SMALL, lay_out

LINE = 1.25
"""Height of a line of text, in sizes of its letters."""

_LEADER, _MARK, _TEXT = 9.0, 13.0, 18.0
"""Points right of a panel: the end of the leader, the marker, the text."""

_LONGEST = 125.0
"""Points that a label may be wide before it is broken."""


class Size(NamedTuple):
    """Points."""

    width: float
    height: float


@lru_cache(4096)  # outlines of letters take a quarter of a report's time
def text_size(text: str, size: float = SMALL) -> Size:
    """Width and height of a text of one or more lines."""
    lines = text.split("\n")
    widths = [Bbox(TextPath((0, 0), line, size=size).get_extents()).width if line.strip() else 0.0 for line in lines]
    return Size(max(widths) + 1, LINE * size * len(lines))


def broken(name: str, longest: float = _LONGEST) -> str:
    """A name on the fewest lines of at most some width, broken behind the marks that join its parts."""
    lines = [""]
    for part in name.replace(" · ", " ·\0").replace(" / ", " /\0").replace(" [", "\0[").split("\0"):
        joined = f"{lines[-1]} {part}" if lines[-1] else part
        if lines[-1] and text_size(joined).width > longest:
            lines.append(part)
        else:
            lines[-1] = joined
    return "\n".join(lines)


def column_width(names: Sequence[str]) -> float:
    """Inches that a column of labels takes."""
    return (_TEXT + max((text_size(broken(name)).width for name in names), default=0.0) + 2) / 72


def fits(names: Sequence[str], height: float) -> bool:
    """True where the labels have room in a column of a height, in inches."""
    return sum(text_size(broken(name)).height for name in names) <= 72 * height


def freeze(figure: Figure, left_free: float) -> None:
    """Lay the panels out, with some inches left free at the right, and keep them where they are."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, 0, 1 - left_free / figure.get_figwidth(), 1))  # pyright: ignore[reportCallIssue]
    lay_out(figure)


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], look: Mapping[str, LineStyle]) -> None:
    """Names in a column right of a panel, each with a leader from its line's end. The layout is frozen.

    Args:
        axes: the panel.
        ends: group name -> the last point of its line, in data.
        look: group name -> its look.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    width, height = (72 * size for size in figure.get_size_inches())
    box = axes.get_position()
    bottom, top = box.y0 * height, box.y1 * height
    names = list(ends)
    texts = [broken(name) for name in names]
    points = [axes.transAxes.inverted().transform(axes.transData.transform(ends[name])) for name in names]
    wanted = [bottom + min(max(float(y), 0.0), 1.0) * (top - bottom) for _, y in points]
    heights = [text_size(text).height for text in texts]
    margin = max(0.0, (sum(heights) - (top - bottom)) / 2)
    centres = spread(wanted, heights, bottom - margin, top + margin)
    for name, text, (x, _), start, centre in zip(names, texts, points, wanted, centres, strict=True):
        own, right = look[name], box.x1 * width
        end = box.x0 * width + min(max(float(x), 0.0), 1.0) * (box.x1 - box.x0) * width
        if end < right - 1:  # a line that ends early is led to the panel's edge
            _line(figure, (end, right), (start, start), own, (0, (1, 2)))
        _line(figure, (right, right + _LEADER, right + _MARK), (start, centre, centre), own, "-")
        figure.add_artist(
            Line2D(
                [(right + _MARK) / width], [centre / height], transform=figure.transFigure, color=own.color,
                marker=own.marker, fillstyle=own.fill, markerfacecoloralt="white", linestyle="none", clip_on=False,
            )
        )  # fmt: skip
        figure.text(
            (right + _TEXT) / width, centre / height, text, fontsize=SMALL, color=INK, va="center_baseline", ha="left",
            linespacing=1.1,
        )  # fmt: skip


def legend(figure: Figure, names: Sequence[str], look: Mapping[str, LineStyle], *, lines: bool) -> None:
    """A legend of the groups below the panels."""
    handles = [
        Line2D(
            [], [], color=own.color, marker=own.marker, fillstyle=own.fill, markerfacecoloralt="white",
            linestyle=own.dashes if lines else "none", label=name,
        )
        for name in names
        for own in (look[name],)
    ]  # fmt: skip
    columns = legend_columns(figure.get_figwidth(), names)
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, handlelength=3)


def legend_columns(width: float, names: Sequence[str]) -> int:
    """Columns that a legend has room for in a width of inches: line and gaps take half an inch."""
    return max(1, int(width / (0.55 + max(text_size(name).width for name in names) / 72)))


def _line(figure: Figure, x: Sequence[float], y: Sequence[float], own: LineStyle, dashes: object) -> None:
    width, height = (72 * size for size in figure.get_size_inches())
    artist = Line2D(
        [each / width for each in x], [each / height for each in y], transform=figure.transFigure, color=own.color,
        linewidth=0.7, clip_on=False,
    )  # fmt: skip
    artist.set_linestyle(dashes)  # pyright: ignore[reportArgumentType]
    figure.add_artist(artist)
