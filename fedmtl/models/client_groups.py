"""Groups of clients, within which a share map may share parameters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from fedmtl.core.lines import pairs_of
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.types import ClientId


@dataclass(frozen=True)
class ClientGroups:
    """The rule from clients to groups, and the group of each client that is known here."""

    rule: tuple[str, ...]
    """Lines "client=group"."""
    of: Mapping[ClientId, str] = field(repr=False, compare=False)
    """Client -> group: on a device, of its own clients alone."""
    unused: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Globs that decide for none of these clients."""
    also: str = field(default="", repr=False)
    """Text of a component that decides beside the rule and clients' names; empty for none."""

    @property
    def names(self) -> tuple[str, ...]:
        """All groups, sorted."""
        return tuple(sorted({group for _, group in pairs_of(self.rule)}))


def find_groups(
    model: Any, rule: Sequence[str], clients: Iterable[ClientId], names: Mapping[ClientId, str]
) -> ClientGroups:
    """Return the group of each client: that of the first line whose glob matches its name, or its number.

    Args:
        model: for messages.
        rule: lines "client=group".
        clients: those that are known here.
        names: of clients that have one.

    Raises:
        ValueError: a client that is in no group.
    """
    found, unused, lost = first_words(rule, clients, names)
    if lost is not None:
        pairs = pairs_of(rule)
        raise ValueError(
            f"{model!r}: client {lost} is in no group, and a parameter is shared within groups; name it, as in "
            f'groups={{"{lost}": "{pairs[0][1]}"}}, or put all others into one group by "*".'
            f"{did_you_mean(lost, [glob for glob, _ in pairs])}"
        )
    return ClientGroups(tuple(rule), found, unused)


def first_words(
    rule: Sequence[str],
    clients: Iterable[ClientId],
    names: Mapping[ClientId, str],
    more: Mapping[ClientId, str] | None = None,
) -> tuple[dict[ClientId, str], tuple[str, ...], str | None]:
    """Return the word of each client, the globs that decide for none, and a client that no glob matches, or None.

    Args:
        rule: lines "client=word", of which the first decides whose glob matches the client's name, or its number.
        clients: those that are known here.
        names: of clients that have one.
        more: other names of clients, such as that of a class, which a glob may match.
    """
    pairs, more = pairs_of(rule), more or {}
    found: dict[ClientId, str] = {}
    used: set[str] = set()
    for client in clients:
        label = names.get(client, str(client))
        known = (label, str(client), *([more[client]] if client in more else []))
        for glob, word in pairs:
            if any(fnmatchcase(name, glob) for name in known):
                found[client] = word
                used.add(glob)
                break
        else:
            return found, (), label
    return found, tuple(glob for glob, _ in pairs if glob not in used), None


def check_groups(owner: Any, groups: ClientGroups, field: str = "groups") -> None:
    """Refuse a glob that decides for no client; ``groups`` are of all clients.

    Raises:
        ValueError: it names the glob.
    """
    if groups.unused:
        raise ValueError(
            f"{owner!r}: {field}: {groups.unused[0]!r} is no client, or a line before it has taken all that "
            "it matches; mend it, or put it first."
        )
