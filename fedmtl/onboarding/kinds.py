"""New clients of one kind: the width of their model, and their group, by the globs that part the run's clients."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fedmtl.core.types import ClientId
from fedmtl.data.base import ClientData
from fedmtl.models.client_groups import ClientGroups, first_words
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.plan_variants import whole


class NewcomerKind(NamedTuple):
    """New clients with one plan, which are sent the same."""

    plan: Plan
    """Theirs: of their width, or of the whole model where no glob matches them."""
    narrow: bool
    """True of a width."""
    clients: Mapping[ClientId, ClientData]
    like: Sequence[ClientId]
    """Clients of the run of their group; all clients where there are no groups, or no glob matches them."""


def kinds(
    plan: Plan,
    clients: Mapping[ClientId, ClientData],
    names: Mapping[ClientId, str],
    numbers: Mapping[ClientId, ClientId] | None,
) -> list[NewcomerKind]:
    """Part new clients by width and group.

    Args:
        plan: of the run, with their tasks.
        clients: with their data.
        names: of those that have one; a glob matches the name, and of others the number.
        numbers: in the run, of each that is one of its own; None of new ones.
    """
    every = sorted(plan.owners)
    if plan.widths is None and plan.groups is None:
        return [NewcomerKind(plan, False, clients, every)]

    def word(rule: ClientGroups | None, client: ClientId) -> str | None:
        if rule is None:
            return None
        if numbers is not None:
            return rule.of[numbers[client]]
        label: Any = names.get(client, str(client))
        return first_words(rule.rule, [label], {})[0].get(label)

    members: dict[tuple[str | None, str | None], list[ClientId]] = {}
    for client in clients:
        members.setdefault((word(plan.widths, client), word(plan.groups, client)), []).append(client)
    found = []
    for (width, group), own in members.items():
        like = [one for one in every if plan.groups is not None and plan.groups.of[one] == group]
        of_width = whole(plan) if width is None else plan.by_width[width]
        found.append(
            NewcomerKind(of_width, width is not None, {client: clients[client] for client in own}, like or every)
        )
    return found
