"""Tables that fit the terminal: columns that matter less are left out, texts are wrapped, and at the worst stacked."""

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from fedmtl.core.markdown import cells
from fedmtl.core.terminal import GLUE, glued, wrapped

GAP = "  "
LEAST = 16
"""Columns of text that the first column has at least, before rows are stacked."""


class TextColumn(NamedTuple):
    """One column."""

    head: str
    cells: Sequence[str]
    rank: int = 0
    """Columns of the highest rank are left out first; those of rank 0 never."""


class Fitted(NamedTuple):
    """A table, and what it lacks."""

    text: str
    left_out: list[str]
    """Heads of columns that did not fit."""


def fitted(columns: Sequence[TextColumn], width: int | None) -> Fitted:
    """Columns side by side, the first to the left, the others to the right.

    >>> print(fitted([TextColumn("system", ["loop"]), TextColumn("clients a second", ["1,200"])], 20).text)
            clients
                  a
    system   second
    loop      1,200

    Args:
        columns: of equal length; the first names the rows.
        width: of the terminal; None for a line of any length.
    """
    shown = list(columns)
    while width is not None and _total(shown, width) > width and any(column.rank for column in shown):
        shown.remove(max(reversed(shown), key=lambda column: column.rank))
    left_out = [column.head for column in columns if column not in shown]
    if width is None or sum(map(_wide, shown)) + len(GAP) * (len(shown) - 1) <= width:
        return Fitted(_aligned(shown, [_wide(column) for column in shown]), left_out)
    widths = [_narrow(column) for column in shown]
    widths[0] = min(_wide(shown[0]), width - sum(widths[1:]) - len(GAP) * (len(shown) - 1))
    if widths[0] < min(LEAST, _wide(shown[0])):
        return Fitted(_stacked(shown, width), left_out)
    return Fitted(_aligned(shown, widths), left_out)


def markdown_fitted(text: str, width: int | None) -> str:
    """Markdown for a terminal: its tables as columns without bars, its other lines wrapped; as it is without a width.

    >>> print(markdown_fitted("Found:\\n\\n| method | score |\\n|---|---:|\\n| FedPer | 0.5 |", 80))
    Found:
    <BLANKLINE>
    method  score
    FedPer    0.5
    """
    if width is None:
        return text
    parts: list[str] = []
    for is_table, lines in groupby(text.split("\n"), lambda line: line.startswith("|")):
        if is_table:
            head, _, *body = map(cells, lines)
            shown = [TextColumn(name, [row[at] for row in body]) for at, name in enumerate(head)]
            parts.append(fitted(shown, width).text)
        else:
            parts += [wrapped(line, width, "  ") for line in lines]
    return "\n".join(parts)


def _wide(column: TextColumn) -> int:
    return max(map(len, [column.head, *column.cells]))


def _narrow(column: TextColumn) -> int:
    """With the head's words below each other."""
    return max(map(len, [*glued(column.head).split(" "), *column.cells]))


def _total(columns: Sequence[TextColumn], width: int) -> int:
    """Width of the table when the first column gets a third of the terminal at most."""
    first = min(_wide(columns[0]), max(LEAST, width // 3))
    return first + sum(_narrow(column) + len(GAP) for column in columns[1:])


def _aligned(columns: Sequence[TextColumn], widths: Sequence[int]) -> str:
    rows = list(zip(*(column.cells for column in columns), strict=True))
    lines = _row([column.head for column in columns], widths, from_below=True)
    for row in rows:
        lines += _row(row, widths)
    return "\n".join(lines)


def _row(cells: Sequence[str], widths: Sequence[int], from_below: bool = False) -> list[str]:
    """A row in as many lines as its longest cell takes."""
    broken = [_broken(cell, width) for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, broken))
    lines = []
    for line in range(height):
        parts = []
        for place, (texts, width) in enumerate(zip(broken, widths, strict=True)):
            at = line - (height - len(texts)) if from_below else line
            text = texts[at] if 0 <= at < len(texts) else ""
            parts.append(text.rjust(width) if place else text.ljust(width))
        lines.append(GAP.join(parts).rstrip())
    return lines


def _broken(text: str, width: int) -> list[str]:
    hanging = "  " if width > LEAST else ""
    found = textwrap.wrap(glued(text), width, subsequent_indent=hanging, break_on_hyphens=False)
    return [line.replace(GLUE, " ") for line in found] or [""]


def _stacked(columns: Sequence[TextColumn], width: int) -> str:
    """Each row as lines: its name, and a line for each further column."""
    lines: list[str] = []
    for row in zip(*(column.cells for column in columns), strict=True):
        lines += textwrap.wrap(row[0], width) or [""]
        for column, cell in zip(columns[1:], row[1:], strict=True):
            lines += textwrap.wrap(f"{column.head}: {cell}", width, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)
