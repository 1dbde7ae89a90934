"""Agreement before the first round, from the summaries of clients, which are hostile until they are checked."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.prepared import Rule
from fedmtl.data.schema import Schema
from fedmtl.protocol.packets import Packets
from fedmtl.protocol.preparation import read_summary
from fedmtl.protocol.rejections import Rejection
from fedmtl.server.influence import size_limits


class Summaries(NamedTuple):
    """The packets of the clients of one node."""

    node: int
    clients: NDArray[np.int64]
    packets: Packets


class _NodeSummaries(NamedTuple):
    """A node's summaries that a rule takes."""

    node: int
    clients: list[int]
    bodies: list[bytes]
    weights: NDArray[np.float64]


def agree(
    rule: Rule, digest: bytes, replies: Sequence[Summaries], schema: Schema, max_weight: float
) -> tuple[bytes, list[Rejection]]:
    """Return what is agreed, and the summaries that were left out.

    A summary that is damaged, is of other columns, or has numbers that are not finite is left out, and so is one that
    counts more than its client can have, by the bound (1) of ``influence``.

    Args:
        rule: of the preparation.
        digest: of the rule.
        replies: of the nodes.
        schema: with the clients, and the numbers of their examples where the server knows them.
        max_weight: W of (1); 0 for no bound.

    Raises:
        RuntimeError: no summary can be used.
        ValueError: summaries by which nothing can be agreed.
    """
    left_out: list[Rejection] = []
    found = [_read(rule, digest, reply, left_out) for reply in replies]
    known = [
        None if schema.examples is None else schema.examples[schema.owners.rows(np.array(each.clients, np.int64)), 0]
        for each in found
    ]
    limits = size_limits(max_weight, [each.weights for each in found], known, [each.node for each in found])
    sent: dict[int, bytes] = {}
    for each, limit in zip(found, limits, strict=True):
        for client, body, weight, most in zip(each.clients, each.bodies, each.weights, limit, strict=True):
            if weight > most:
                reason = f"its summary counts {weight:g}, and its client can have at most {most:g}"
                left_out.append(Rejection("weight", reason, each.node, client, "summary"))
            else:
                sent[client] = body
    if not sent:
        first = f": {left_out[0].reason.rstrip('.')}" if left_out else ""
        raise RuntimeError(f"No client's summary can be used, so nothing is agreed before the first round{first}.")
    return rule.agree(sent), left_out


def _read(rule: Rule, digest: bytes, reply: Summaries, left_out: list[Rejection]) -> _NodeSummaries:
    clients, bodies, weights = [], [], []
    for client, packet in zip(reply.clients.tolist(), reply.packets, strict=True):
        try:
            body = read_summary(packet, digest)
            weights.append(rule.weight(body))
        except (ValueError, ArithmeticError, RecursionError) as error:
            left_out.append(Rejection("values", str(error), reply.node, client, "summary"))
        else:
            clients.append(client)
            bodies.append(body)
    return _NodeSummaries(reply.node, clients, bodies, np.array(weights, np.float64))
