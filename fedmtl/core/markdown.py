"""Tables in Markdown: written from cells that hold any text, and read back to the same cells."""

import re
from collections.abc import Collection, Sequence

_MARKS = re.compile(r"([\\|*`<])")
"""Characters that begin something else than text inside a cell. Underscores within words do not."""


def cell(text: str) -> str:
    """A text that stands in a cell as it is."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    r"""A table, its columns ``left`` aligned left and the others right.

    >>> print(table(["name", "score"], [["a|b", "0.5"]]), end="")
    | name | score |
    | --- | ---: |
    | a\|b | 0.5 |
    """
    marks = ["---" if at in left else "---:" for at in range(len(head))]
    lines = [list(map(cell, head)), marks, *(list(map(cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(line: str) -> list[str]:
    """The texts of a table's line, without emphasis and code marks."""
    found = [text.strip() for text in re.findall(r"((?:[^\\|]|\\.)*)\|", line.strip().removeprefix("|"))]
    plain = [re.sub(r"(?<!\\)(\*\*|`)(.+?)(?<!\\)\1", r"\2", text) for text in found]
    return [re.sub(r"\\([\\|*`<])", r"\1", text) for text in plain]
