"""The part of a round that one node is sent, and the largest packets that it can need in reply."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.roster import Roster
from fedmtl.protocol.metrics_report import max_report_bytes
from fedmtl.protocol.packets import HEADER_BYTES
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import Requests


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
