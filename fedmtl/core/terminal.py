"""Lines that fit the terminal: wrapped between words there, and left whole in files and pipes."""

import os
import re
import shutil
import sys
import textwrap
from typing import TextIO


def columns(stream: TextIO | None = None) -> int | None:
    """Columns of the terminal that a stream writes to; None for a file or a pipe, whose lines are searched, not read.

    ``COLUMNS`` in the environment counts for standard output wherever that goes.
    """
    given = os.environ.get("COLUMNS", "")
    if stream is None and given.isdecimal() and int(given) > 0:
        return max(20, int(given))
    return max(20, shutil.get_terminal_size().columns) if (stream or sys.stdout).isatty() else None


GLUE = "\u00a0"
"""A space at which no line is broken."""

_TOGETHER = re.compile(r"(?<=\d) (?=(?:[kMGT]?B|s|min|h)\b)|(?<=round) (?=\d)| (?=[↑↓])")


def glued(text: str) -> str:
    """A text whose numbers stay with their units, and arrows with their words: ``GLUE`` is between them."""
    return _TOGETHER.sub(GLUE, text)


def wrapped(text: str, width: int | None, hanging: str = "") -> str:
    """A line, broken between words where it is longer than ``width``; further lines begin with ``hanging``."""
    if width is None or len(text) <= width:
        return text
    lead = text[: len(text) - len(text.lstrip())]
    return textwrap.fill(
        glued(text.lstrip()),
        width,
        initial_indent=lead,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    ).replace(GLUE, " ")


def say(text: str, hanging: str = "") -> None:
    """Print lines to standard output, each wrapped where that is a terminal."""
    width = columns()
    for line in text.split("\n"):
        print(wrapped(line, width, hanging), flush=True)  # above a progress bar, which typer.echo writes past
