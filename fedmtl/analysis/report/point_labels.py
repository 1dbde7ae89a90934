"""Labels beside points, along arrows and on lines: each at the first of its places that covers nothing else."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedmtl.analysis.report.labels import broken, text_size
from fedmtl.analysis.report.placing import Box, place
from fedmtl.analysis.report.style import INK, PALE, SMALL

_GAPS = (6.0, 10.0, 15.0, 22.0, 30.0, 40.0, 52.0, 66.0, 82.0)
_SIDES = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 2), (-1, 2), (1, -2), (-1, -2))


class PointMark(NamedTuple):
    """A point with a name, in data."""

    name: str
    x: float
    y: float
    half: float | None
    """Half the length of its bar."""


class NamedLine(NamedTuple):
    """A horizontal line across the panel, or a part of one, with a name."""

    name: str
    y: float
    color: str
    start: float | None = None
    """Its left end, in data; None for the panel's."""
    end: float | None = None


class Arrow(NamedTuple):
    """An arrow with words, in data."""

    words: str
    color: str
    start: tuple[float, float]
    end: tuple[float, float]


class _Label(NamedTuple):
    text: str
    color: str
    italic: bool
    places: list[Box]
    """In points of the figure, the best first."""
    anchor: tuple[float, float] | None
    """End of a leader."""


def label_points(
    axes: Axes,
    marks: Sequence[PointMark],
    lines: Sequence[NamedLine],
    arrows: Sequence[Arrow],
    steps: Sequence[NamedLine] = (),
) -> bool:
    """Write the names, none over another or over a mark. The layout is frozen.

    Words of an arrow, and names of steps, that find no place are left out. Without a place for each name of a mark or a
    line, nothing is written: False. Names keep off the steps where they can.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    scale = 72 / figure.dpi

    def at(x: float, y: float) -> tuple[float, float]:
        right, up = axes.transData.transform((x, y)) * scale
        return float(right), float(up)

    frame = axes.get_window_extent()
    bounds = (frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    obstacles = [box for mark in marks for box in _covered(mark, at(mark.x, mark.y), at(mark.x, _top(mark)))]
    parts = [_part(axes, line, scale, bounds) for line in lines]
    obstacles += parts
    obstacles += [box for arrow in arrows for box in _along(at(*arrow.start), at(*arrow.end))]
    names = [_beside(mark.name, *at(mark.x, mark.y)) for mark in marks]
    names += [_on_line(line, part) for line, part in zip(lines, parts, strict=True)]
    labels = [*names, *(_by_arrow(arrow, at(*arrow.start), at(*arrow.end)) for arrow in arrows)]
    soft = [_part(axes, step, scale, bounds) for step in steps]
    labels += [_on_line(step, part) for step, part in zip(steps, soft, strict=True) if step.name]
    places = [label.places for label in labels]
    chosen = place(places, [*obstacles, *soft], bounds)
    if None in chosen[: len(names)]:
        chosen = place(places, obstacles, bounds)
    if None in chosen[: len(names)]:
        return False
    for label, number in zip(labels, chosen, strict=True):
        if number is not None:
            _write(figure, label, label.places[number])
    return True


def _write(figure: Figure, label: _Label, box: Box) -> None:
    width, height = (72 * size for size in figure.get_size_inches())
    figure.text(
        (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height, label.text, fontsize=SMALL, color=label.color,
        fontstyle="italic" if label.italic else "normal", ha="center", va="center_baseline", linespacing=1.1,
    )  # fmt: skip
    if label.anchor is None:
        return
    x, y = label.anchor
    near = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
    if np.hypot(near[0] - x, near[1] - y) > 9:
        ends = [x / width, near[0] / width], [y / height, near[1] / height]
        figure.add_artist(Line2D(*ends, transform=figure.transFigure, color=PALE, linewidth=0.5))


def _beside(name: str, x: float, y: float) -> _Label:
    text = broken(name, 150)
    width, height = text_size(text)
    places = []
    for gap in _GAPS:
        for right, up in _SIDES:
            side = gap if not up else 0.6 * gap
            left = x + side if right > 0 else x - side - width if right < 0 else x - width / 2
            middle = y + up * (0.55 * gap + height / 2)
            places.append((left, middle - height / 2, left + width, middle + height / 2))
    return _Label(text, INK, False, places, (x, y))


def label_lines(axes: Axes, lines: Sequence[NamedLine]) -> None:
    """Write the names of horizontal lines where no line of the panel is. Those without a place are left out."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    frame = axes.get_window_extent()
    bounds = (frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    obstacles = [_part(axes, line, scale, bounds) for line in lines]
    for drawn in axes.lines:
        points = drawn.get_transform().transform(np.asarray(drawn.get_xydata(), float)) * scale
        points = points[np.isfinite(points).all(axis=1)]
        for start, end in zip(points, points[1:], strict=False):
            obstacles += _along(tuple(start), tuple(end))
        obstacles += [(x - 2, y - 2, x + 2, y + 2) for x, y in points.tolist()]
    labels = [_on_line(line, _part(axes, line, scale, bounds)) for line in lines]
    for label, number in zip(labels, place([label.places for label in labels], obstacles, bounds), strict=True):
        if number is not None:
            _write(figure, label, label.places[number])


def _part(axes: Axes, line: NamedLine, scale: float, bounds: Box) -> Box:
    """The box of a horizontal line, in points of the figure."""
    ends = axes.get_xlim()
    start, end = (end if x is None else x for x, end in zip((line.start, line.end), ends, strict=True))
    (left, y), (right, _) = axes.transData.transform([(start, line.y), (end, line.y)]) * scale
    return max(float(left), bounds[0]), float(y) - 1, min(float(right), bounds[2]), float(y) + 1


def _on_line(line: NamedLine, part: Box) -> _Label:
    """Above or below the line, from the left on."""
    width, height = text_size(line.name)
    lefts = [float(x) for x in np.arange(part[0] + 3, part[2] - width, 8.0)]
    places = [(x, low, x + width, low + height) for low in (part[3], part[1] - height) for x in lefts]
    return _Label(line.name, line.color, False, places, None)


def _by_arrow(arrow: Arrow, start: tuple[float, float], end: tuple[float, float]) -> _Label:
    """Above or below the arrow, at its middle or near it."""
    width, height = text_size(arrow.words)
    run, rise = end[0] - start[0], end[1] - start[1]
    places = []
    for gap in (1.5, 4.0, 8.0, 14.0):
        for part in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
            x, y = start[0] + part * run, start[1] + part * rise
            reach = gap + min(abs(rise) / max(abs(run), 1.0), 1.0) * width / 2
            places += [(x - width / 2, low, x + width / 2, low + height) for low in (y + reach, y - reach - height)]
    return _Label(arrow.words, arrow.color, True, places, None)


def _top(mark: PointMark) -> float:
    return mark.y + (mark.half or 0.0)


def _covered(mark: PointMark, at: tuple[float, float], top: tuple[float, float]) -> list[Box]:
    """Boxes of a point: its marker and its bar."""
    x, y = at
    reach = top[1] - y
    return [(x - 4, y - 4, x + 4, y + 4), *([(x - 2.5, y - reach, x + 2.5, y + reach)] if reach else [])]


def _along(start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """Small boxes along an arrow."""
    steps = max(2, int(np.hypot(end[0] - start[0], end[1] - start[1]) / 3))
    middles = [
        (start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])) for t in np.linspace(0, 1, steps)
    ]
    return [(float(x) - 1, float(y) - 1, float(x) + 1, float(y) + 1) for x, y in middles]
