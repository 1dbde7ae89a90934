"""TOML by a stranger: read within bounds on length, depth and time, or refused in one line."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MOST_BYTES = 2**18
"""Most bytes of a preset, which is a page: half a second of reading."""

MOST_BYTES_WRITTEN = 2**23
"""Most bytes of an ``experiment.toml``, which may list the edges of a graph, a line a number."""

DEEPEST = 32
"""Tables and lists inside each other."""

_MOST_WORK = 2 * 10**7
"""``tomllib`` takes time in the square of a key's parts. The sum over lines of their dots squared; half a second."""


class NotToml(ValueError):
    """A text that is not TOML."""


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a file.

    Raises:
        NotToml: a file that is not UTF-8, or not TOML; the message names the file.
        ValueError: one that is too long, or nests too deeply.
        OSError: a file that cannot be read.
    """
    most = MOST_BYTES_WRITTEN if path.name == "experiment.toml" else MOST_BYTES
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path} has more than {most:,} bytes, the most of such a file; make it shorter.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotToml(f"{path} is not TOML: {error}; save it as UTF-8.") from None
    return parse_toml(text, str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The values of a text; ``where`` begins the message of an error.

    Raises:
        NotToml, ValueError: as ``read_toml``.
    """
    _check_dots(text, where)
    try:
        values = tomllib.loads(text.replace("\r\n", "\n"))
    except RecursionError:
        raise ValueError(f"{where} nests tables or lists more than {DEEPEST} deep; make it flatter.") from None
    except ValueError as error:  # also a number of more digits than Python reads
        raise NotToml(f"{where} is not TOML: {error}") from None
    check_depth(values, where)
    return values


def _check_dots(text: str, where: str) -> None:
    """Refuse keys of thousands of parts before they cost minutes. A key is on one line, so a line's dots bound it."""
    work = 0
    for number, line in enumerate(text.splitlines(), 1):
        dots = line.count(".")
        if dots > 2 * DEEPEST and line.lstrip().startswith("["):
            raise ValueError(
                f"{where}, line {number}: a table's name has at most {DEEPEST} parts, and a line that begins with [ at "
                f"most {2 * DEEPEST} dots, got {dots}; break the line."
            )
        work += dots * dots
        if work > _MOST_WORK:
            raise ValueError(f"{where}, line {number}: too many dots on a line, got {dots}; break long lists.")


def check_depth(value: Any, where: str) -> None:
    """Refuse tables and lists that nest more than ``DEEPEST`` deep, without recursion.

    Raises:
        ValueError: it names the bound.
    """
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise ValueError(f"{where} nests tables or lists more than {DEEPEST} deep; make it flatter.")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                inner += item.values()
            elif isinstance(item, (list, tuple)):
                inner += item
        level, depth = inner, depth + 1
