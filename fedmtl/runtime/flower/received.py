"""The only reader of nodes' replies, hostile until they are checked.

First records, keys, types, declared sizes and lengths are checked, before an array is viewed: every violation is a
``Refused``, and no other error. Then all columns, at once, against the requests that the node was sent; honest replies
pass untouched, without a copy.
"""

from typing import Any

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from fedmtl.core.text import escaped
from fedmtl.data.roster import Roster
from fedmtl.protocol.packets import Packets
from fedmtl.protocol.rejections import Refused, Rejection
from fedmtl.protocol.requests import PHASES, Replies, Total
from fedmtl.runtime.flower.records import (
    PACKETS,
    REPLIES,
    TOTALS,
    added,
    column,
    only,
    packet_array,
    record,
    same_length,
    value,
)
from fedmtl.server.node_requests import NodeRequests

EXTRA_ROWS = 1000
"""Rows about clients of other nodes that are still named one by one; a reply with more of them is refused whole."""

_SLACK = 1.0
"""Seconds that a node's times may exceed the server's: clocks differ."""


def read_replies(content: RecordDict, round: int, rows: int | None = None, totals: bool = True) -> Replies:
    """Read the replies of a node.

    Args:
        content: of its message.
        round: that was requested.
        rows: most clients of the reply; None for any number.
        totals: True if sums of uploads were requested.

    Raises:
        Refused: anything that ``replies_content`` cannot have written, for this round and these sizes.
    """
    only(content, PACKETS, REPLIES, *([TOTALS] if totals else []))
    config = record(content, REPLIES, ConfigRecord)
    if (got := value(config, "round", int)) != round:
        raise Refused("round", f"expected a reply to round {round}, got one to round {got}")
    clients, update, report = (column(config, key, "<i8", rows) for key in ("clients", "update", "report"))
    seconds = column(config, "seconds", "<f8", rows)
    same_length(clients, update, report, seconds)
    problems = _problems(config, rows)
    data = packet_array(content)
    sums = _totals(content) if TOTALS in content else []
    # Sums replace the updates, whose lengths are those of packets that were made but not sent.
    sent = np.zeros_like(update) if sums else update
    reported, updated = added(report, data.size), added(sent, data.size)
    if reported + updated != data.size:
        raise Refused("message", f"the reply announces {reported + updated} bytes of packets, got {data.size}")
    if sums and len(update) and update.min() < 0:
        raise Refused("message", f"a packet's length is at least 0, got {update.min()}")
    return Replies(
        clients,
        Packets(data, updated + np.cumsum(report) - report, report),
        Packets(data, np.cumsum(sent) - sent, update),
        seconds,
        problems,
        sums,
        _phases(config),
    )


def _problems(config: ConfigRecord, rows: int | None) -> dict[int, str]:
    troubled, problems = value(config, "troubled", list), value(config, "problems", list)
    if len(troubled) != len(problems) or (rows is not None and len(troubled) > rows):
        raise Refused("text", f"problems are one text a client, got {len(troubled)} clients and {len(problems)} texts")
    found = {}
    for client, problem in zip(troubled, problems, strict=True):
        if type(client) is not int or type(problem) is not str:
            kinds = f"{type(client).__name__} and {type(problem).__name__}"
            raise Refused("text", f"a problem is a client's number and a text, got {kinds}")
        found[client] = escaped(problem)
    return found


def _phases(config: ConfigRecord) -> dict[str, float]:
    """Read a node's seconds by phase; their values are checked with its other numbers."""
    names, seconds = config.get("phases", []), config.get("phase_seconds", [])
    if type(names) is not list or type(seconds) is not list or len(names) != len(seconds) or len(names) > len(PHASES):
        raise Refused("text", f"phases are at most {len(PHASES)} names, and a time for each")
    phases: dict[str, float] = {}
    for name, spent in zip(names, seconds, strict=True):
        if not isinstance(name, str) or name not in PHASES or type(spent) is not float:
            raise Refused("text", f"a phase is one of {', '.join(PHASES)} and a time, got {escaped(name, 40)!r}")
        phases[name] = spent
    return phases


def _totals(content: RecordDict) -> list[Total]:
    """Read sums of uploads, which are requested only of nodes of this machine, and trusted."""
    config: Any = record(content, TOTALS, ConfigRecord)
    keys = ("tasks", "clients", "vectors", "num_examples", "train_loss", "metrics", "ideal_bits")
    columns = [value(config, key, list) for key in keys]
    if len({len(one) for one in columns}) > 1:
        raise Refused("message", f"totals have columns of one length, got {[len(one) for one in columns]}")
    found = []
    for owned, *rest in zip(*columns, strict=True):
        clients, vector, num_examples, losses, metrics, bits = rest
        fits = type(owned) is str and all(type(one) is bytes for one in rest)
        if (
            not fits
            or len(vector) % 8
            or {len(clients), len(num_examples), 2 * len(losses)} != {len(clients)}
            or len(clients) % 8
            or len(metrics) % max(len(clients) // 2, 4)
            or len(bits) not in (0, len(clients))
        ):
            parts = "tasks, clients, a vector, numbers of examples, losses, metrics and ideal bits"
            raise Refused("message", f"a total is {parts}")
        total, weights = np.frombuffer(vector, "<f8"), np.frombuffer(num_examples, "<f8")
        if not np.isfinite(weights).all():
            raise Refused("message", "a total's numbers of examples are finite")
        members, train_loss = np.frombuffer(clients, "<i8"), np.frombuffer(losses, "<f4")
        own = np.frombuffer(metrics, "<f4").reshape(len(members), -1) if len(members) else np.zeros((0, 0), "<f4")
        found.append(
            Total(tuple(owned.split(",")), members, total, weights, train_loss, own, np.frombuffer(bits, "<i8"))
        )
    return found


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
