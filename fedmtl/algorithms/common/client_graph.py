"""Groups and graphs of clients, written as texts, which fit on a command line and into a TOML file."""

from collections.abc import Callable, Sequence
from typing import Any


def read(algorithm: Any, field: str, parse: Callable[[Sequence[str]], list[Any]]) -> list[Any]:
    """Parse a field; an error names it."""
    value = getattr(algorithm, field)
    try:
        if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError("a tuple of texts")
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{type(algorithm).__name__} got {field}={value!r}: {error}.") from None


def parse_groups(groups: Sequence[str]) -> list[list[str]]:
    """The members of each group; a group named twice is one."""
    found = [sorted(set(map(_client, group.split()))) for group in dict.fromkeys(groups)]
    members = [k for group in found for k in group]
    if not all(found) or len(set(members)) < len(members):
        raise ValueError("a group has members, and no client is in two")
    return found


def parse_edges(edges: Sequence[str]) -> list[tuple[str, str, float]]:
    """(k, l, a_kl), each edge in both directions."""
    found = []
    for edge in edges:
        ends, _, weight = edge.partition(":")
        k, other = map(_client, ends.split("-"))
        a = float(weight or 1)
        if k == other or not 0 < a < float("inf"):
            raise ValueError("an edge joins two clients, with a positive, finite weight")
        found += [(k, other, a), (other, k, a)]
    return found


def parse_common(common: Sequence[str]) -> list[str]:
    """The beginnings of names."""
    if not all(prefix.startswith("trunk.") for prefix in common):
        raise ValueError('what is common to all is of the trunk, "trunk.…"')
    return list(common)


def _client(text: str) -> str:
    """A client's number as the server's state has it."""
    number = int(text)
    if number < 0:
        raise ValueError("clients are numbered from 0")
    return str(number)
