"""The hint in errors about an unknown name: "did you mean …?"."""

from collections.abc import Iterable
from difflib import SequenceMatcher

MOST_HINTS = 3
"""Names that a hint gives."""

_LONGEST = 100
"""Characters of a name that is compared; comparing takes time in the square of them."""

_ALIKE = 0.6
"""Least ``SequenceMatcher.ratio`` of a suggestion: a third of the characters may differ."""


def alike(name: object, known: Iterable[str]) -> list[str]:
    """Known names that are spelled like a name, the most alike first; case, ``-``, ``_`` and dots do not count.

    >>> alike("FedPr", ["Local", "FedPer", "FedProx"])
    ['FedPer', 'FedProx']
    """
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST:
        return []
    wanted = _plain(name)
    found: list[tuple[float, int, str]] = []
    for place, one in enumerate(known):
        ratio = SequenceMatcher(None, wanted, _plain(one)).ratio()
        if ratio >= _ALIKE or (len(wanted) > 2 and _plain(one).startswith(wanted)):
            found.append((-ratio, place, one))
    found.sort()
    best = found[0][0] if found else 0.0
    return [one for ratio, _, one in found[:MOST_HINTS] if ratio <= best + 0.15]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`` Did you mean FedPer?``, the last sentence of an error about an unknown name; empty where none is like it."""
    found = alike(name, known)
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in "-_. ")
