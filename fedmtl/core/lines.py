"""Small mappings of names to words as tuples of lines "name=word", so that a component that has one is hashed."""

from collections.abc import Mapping, Sequence
from typing import Any


def read_lines(given: Any) -> tuple[str, ...] | None:
    """Return lines "name=word" of a mapping, or lines; None where it is neither.

    >>> read_lines({"trunk.*": 2})
    ('trunk.*=2',)
    """
    if isinstance(given, Mapping):
        return tuple(f"{name}={word}" for name, word in given.items())
    good = isinstance(given, (list, tuple)) and all(isinstance(line, str) for line in given)
    return tuple(given) if good else None


def pairs_of(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Cut lines "name=word" at their last "=", without space around."""
    cut = (line.rpartition("=") for line in lines)
    return [(name.strip(), word.strip()) for name, _, word in cut]
