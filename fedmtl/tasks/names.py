"""Names of classes and labels, as the user gave them."""

from collections.abc import Iterable
from typing import Any

from fedmtl.tasks.base import Task

LONGEST = 60
"""Characters of a name that are kept."""


def clean(name: str) -> str:
    """A name in one line of at most 60 characters, without control characters, escape codes or direction marks."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name[: LONGEST + 1])
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def checked_names(what: str, names: Any, count: int) -> tuple[str, ...]:
    """Names of classes or labels, cleaned, or none.

    Args:
        what: begins the message of an error.
        names: one text for each, no two alike; nothing for none.
        count: how many there are.

    Raises:
        ValueError: something else.
    """
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise ValueError(f"{what}: names are a list of texts, got {type(names).__name__}.")
    found = tuple(names)
    if not all(isinstance(name, str) and name.strip() for name in found):
        raise ValueError(f"{what}: names are texts that are not empty; name each, or none.")
    if found and len(found) != count:
        raise ValueError(f"{what}: there are {count}, and {len(found)} names; name each, or none.")
    cleaned = tuple(map(clean, found))
    if len(set(cleaned)) != len(cleaned):
        raise ValueError(f"{what}: no two names are alike in their first {LONGEST} characters; rename one.")
    return cleaned


def class_names(task: Task) -> tuple[str, ...]:
    """Names of a task's classes, or of its labels; empty where it has none."""
    named: Any = task
    return tuple(named.names) if task.traits.names else ()
