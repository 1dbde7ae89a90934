"""Rejections: the parts of a round that the server left out, with the reason, by kind, node and client."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fedmtl.core.types import ClientId

log = logging.getLogger("fedmtl")

KINDS = {
    "message": "a reply that cannot be read: records, keys, types, lengths that do not fit its bytes",
    "round": "a reply to another round or another kind of message, from an unknown node, or a second reply",
    "size": "a packet larger than the request can need",
    "unasked": "totals, raw data, a report or an update that was not requested, or a client that was not",
    "owner": "a client that lives on another node, in a reply or in a roster",
    "duplicate": "a second reply of one client",
    "packet": "a packet that is damaged, or of another experiment, round or kind",
    "values": "numbers that are not finite",
    "weight": "a number of examples above what the client can have",
    "norm": "an update too far from the model that was sent",
    "update": "an update that the algorithm cannot use",
    "metrics": "sums that no metric can have",
    "seconds": "times that are negative, not finite, or longer than the round",
    "text": "problems or phases that are no texts, too many, or not about the node's own clients",
    "roster": "a roster that does not fit the federation",
    "error": "a node that failed",
    "late": "an update that came after its round was closed",
}
"""Kind -> its meaning. ``summary.json`` counts rejections under these names."""

LINES = 10
"""Rejections of one node and kind that are logged one by one in a round."""


class Refused(ValueError):
    """A reply, or a part of it, that the server leaves out.

    Args:
        kind: one of ``KINDS``.
        reason: the rule and what was found.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Rejection(NamedTuple):
    """One thing that was left out."""

    kind: str
    """One of ``KINDS``."""
    reason: str
    node: int | None = None
    """Flower's id of the node that sent it; None where replies did not come by messages."""
    client: ClientId | None = None
    """None for what is the node's and no client's."""
    part: str = "update"
    """The part of the client's reply: ``update``, ``report``, …"""


def count(rejections: Iterable[Rejection]) -> Counter[str]:
    """Count rejections by kind."""
    return Counter(rejection.kind for rejection in rejections)


def report(where: str, rejections: Iterable[Rejection], warn: Callable[..., None] = log.warning) -> None:
    """Log each rejection under its client and node; of many of one node and kind, the first ones and the rest as ids.

    Args:
        where: how lines begin, such as ``round 3``.
        warn: called with the line.
    """
    groups: dict[tuple[int | None, str, str], list[Rejection]] = {}
    for rejection in rejections:
        groups.setdefault((rejection.node, rejection.kind, rejection.part), []).append(rejection)
    for (node, _, part), group in groups.items():
        suffix = "" if node is None else f" [node {node}]"
        for client, reason in [(one.client, one.reason) for one in group[:LINES]]:
            whose = f"reply of node {node}" if client is None else f"client {client}"
            what = "" if part == "update" or client is None else f"{part} of "
            warn("%s", f"{where}: {what}{whose} left out: {reason}{suffix if client is not None else ''}")
        if rest := group[LINES:]:
            ids = ", ".join(str(one.client) for one in rest[:LINES])
            warn("%s", f"{where}: {len(rest)} more for like reasons: {ids}{', …' if len(rest) > LINES else ''}{suffix}")
