"""Checks of a node's replies against the requests that it was sent.

All columns are checked at once; honest replies pass untouched, without a copy.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.text import escaped
from fedmtl.data.roster import Roster
from fedmtl.protocol.metrics_report import max_report_bytes
from fedmtl.protocol.packets import HEADER_BYTES, Packets
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.rejections import Rejection
from fedmtl.protocol.requests import PHASES, Replies, Requests

EXTRA_ROWS = 1000
"""Rows about clients of other nodes that are still named one by one; a reply with more of them is refused whole."""

_SLACK = 1.0
"""Seconds that a node's times may exceed the server's: clocks differ."""


class NodeRequests(NamedTuple):
    """The part of a round that one node was sent."""

    node: int
    requests: Requests
    update_bytes: NDArray[np.int64]
    """The largest packet of an update, or of raw data, that each client can need, [V]."""
    report_bytes: NDArray[np.int64]
    """The largest report, [V]."""
    trusted: bool = False
    """True where the node shares memory with the server: a worker of this machine, started by it."""


def packet_limits(plan: Plan, roster: Roster, requests: Requests) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the largest update and report, in bytes, that each of the requests can need, [V] both.

    A codec makes at most 8 bytes a number and 4096 besides, or says in ``max_bytes(size)`` how many it makes. Raw data
    is bounded with all of the round's, see ``RoundReplies.raw_data``: how many examples are typical is known then.
    """
    updates, reports = np.zeros(len(requests), np.int64), np.zeros(len(requests), np.int64)
    sets = roster.task_set(requests.clients)
    for index in np.unique(sets).tolist():
        some = np.flatnonzero(sets == index)
        owned = roster.task_sets[index]
        reports[some] = max_report_bytes(plan, owned, requests.exchange.full)
        if requests.train[some].any():
            most = plan.uplink(int(requests.clients[some[0]]), owned).max_bytes
            updates[some] = HEADER_BYTES + most if most else 0
    updates = np.where(requests.raw_data, 2**62, np.where(requests.train, updates, 0))
    return updates, np.where(requests.evaluate, reports, 0)


def check_replies(
    replies: Replies, sent: NodeRequests, roster: Roster, elapsed: float
) -> tuple[Replies, list[Rejection]]:
    """Return the replies without parts that were not requested, and the rejections.

    Args:
        elapsed: seconds since the requests were sent.
    """
    left_out: list[Rejection] = []
    node = sent.node

    def leave_out(kind: str, clients: Any, reason: str, part: str = "update") -> None:
        for client in clients.tolist():
            left_out.append(Rejection(kind, reason, node, client, part))

    asked = sent.requests.clients
    place = np.searchsorted(asked, replies.clients)
    place[place == len(asked)] = 0
    own = asked[place] == replies.clients if len(asked) else np.zeros(len(replies), bool)
    if not own.all():
        others = np.unique(replies.clients[~own])
        known = np.isin(others, roster.clients)
        rule = "this node was not asked about it; a client's reply counts from the node where it is registered"
        leave_out("owner", others[known], rule, "claim")
        leave_out("unasked", others[~known], "the federation has no such client", "claim")
        replies, place = replies.select(np.flatnonzero(own)), place[own]
    last = np.zeros(len(asked), np.int64)
    last[place] = np.arange(len(place))  # of equal places the last is written last
    if len(place) != len(asked) and (repeated := last[place] != np.arange(len(place))).any():
        leave_out("duplicate", np.unique(replies.clients[repeated]), "more than one reply; the last counts", "reply")
        replies, place = replies.select(np.flatnonzero(~repeated)), place[~repeated]
    if not replies.totals:
        updates = _cut(replies.updates, sent.update_bytes[place], replies.clients, "update", leave_out)
        replies = _with(replies, updates=updates)
    reports = _cut(replies.reports, sent.report_bytes[place], replies.clients, "report", leave_out)
    seconds = replies.seconds
    timely = (seconds >= 0) & (seconds <= elapsed + _SLACK)  # false for NaN
    if not timely.all():
        leave_out("seconds", replies.clients[~timely], f"a time is from 0 to the round's {elapsed:.1f} s", "time")
        seconds = np.where(timely, seconds, 0.0)
    phases = {name: spent for name, spent in replies.phases.items() if 0 <= spent <= elapsed + _SLACK}
    if len(phases) < len(replies.phases):
        strange = ", ".join(name for name in PHASES if name in replies.phases and name not in phases)
        left_out.append(Rejection("seconds", f"times of {strange} are not from 0 to the round's {elapsed:.1f} s", node))
    problems = replies.problems
    if problems:
        mine = set(asked.tolist())
        if strangers := sorted(set(problems) - mine):
            reason = f"problems of clients that the node was not asked about: {escaped(str(strangers[:5]), 80)}"
            left_out.append(Rejection("owner", reason, node))
            problems = {client: problem for client, problem in problems.items() if client in mine}
    return _with(replies, reports=reports, seconds=seconds, problems=problems, phases=phases, node=node), left_out


def _cut(packets: Packets, limits: NDArray[np.int64], clients: NDArray[np.int64], part: str, leave_out: Any) -> Packets:
    """Empty the packets that were not requested or are larger than they can be."""
    large = packets.lengths > limits
    if not large.any():
        return packets
    unasked = large & (limits == 0)
    leave_out("unasked", clients[unasked], f"no {part} was asked for", part)
    for row in np.flatnonzero(large & ~unasked).tolist():
        reason = f"the {part} can need at most {limits[row]} bytes, got {packets.lengths[row]}"
        leave_out("size", clients[row : row + 1], reason, part)
    return Packets(packets.data, packets.starts, np.where(large, 0, packets.lengths))


def _with(replies: Replies, **changes: Any) -> Replies:
    names = ("clients", "reports", "updates", "seconds", "problems", "totals", "phases", "node")
    return Replies(*(changes.get(name, getattr(replies, name)) for name in names))
