"""The only reader of nodes' messages: replies and rosters, hostile until they are checked.

This file checks records, keys, types, declared sizes and lengths before an array is viewed; the numbers and their
clients are checked in ``fedmtl.server.reply_checks``. Every violation is a ``Refused``, and no other error.
"""

from typing import Any

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from fedmtl.core.text import escaped
from fedmtl.protocol.packets import Packets
from fedmtl.protocol.rejections import Refused
from fedmtl.protocol.requests import PHASES, Replies, Total
from fedmtl.runtime.flower.records import (
    PACKETS,
    REPLIES,
    ROSTER,
    TOTALS,
    added,
    column,
    only,
    packet_array,
    record,
    same_length,
    value,
)


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
    keys = ("tasks", "clients", "vectors", "num_examples", "train_loss", "metrics")
    columns = [value(config, key, list) for key in keys]
    if len({len(one) for one in columns}) > 1:
        raise Refused("message", f"totals have columns of one length, got {[len(one) for one in columns]}")
    found = []
    for owned, *rest in zip(*columns, strict=True):
        clients, vector, num_examples, losses, metrics = rest
        fits = type(owned) is str and all(type(one) is bytes for one in rest)
        if (
            not fits
            or len(vector) % 8
            or {len(clients), len(num_examples), 2 * len(losses)} != {len(clients)}
            or len(clients) % 8
            or len(metrics) % max(len(clients) // 2, 4)
        ):
            raise Refused("message", "a total is tasks, clients, a vector, numbers of examples, losses and metrics")
        total, weights = np.frombuffer(vector, "<f8"), np.frombuffer(num_examples, "<f8")
        if not np.isfinite(weights).all():
            raise Refused("message", "a total's numbers of examples are finite")
        members, train_loss = np.frombuffer(clients, "<i8"), np.frombuffer(losses, "<f4")
        own = np.frombuffer(metrics, "<f4").reshape(len(members), -1) if len(members) else np.zeros((0, 0), "<f4")
        found.append(Total(tuple(owned.split(",")), members, total, weights, train_loss, own))
    return found


def read_roster(content: RecordDict) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Read the clients of a node, the index of each client's set of tasks, and the sets.

    Raises:
        Refused: anything that ``roster_content`` cannot have written.
    """
    only(content, ROSTER)
    config = record(content, ROSTER, ConfigRecord)
    clients, owns = (column(config, key, "<i8") for key in ("clients", "owns"))
    same_length(clients, owns)
    sets = value(config, "tasks", list)
    if len(sets) > len(clients) or not all(type(owned) is str for owned in sets):
        raise Refused("roster", f"sets of tasks are at most {len(clients)} texts, got {len(sets)} values")
    if len(owns) and not 0 <= owns.min() <= owns.max() < len(sets):
        raise Refused("roster", "each client has one of the roster's sets of tasks, got one outside them")
    return clients, owns, sets
