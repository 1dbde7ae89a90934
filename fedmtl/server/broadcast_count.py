"""The count of an exchange's broadcasts in the ledger."""

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.roster import Roster
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.ideal_bits import broadcast_bits
from fedmtl.protocol.ledger import Ledger
from fedmtl.protocol.packets import Packets
from fedmtl.protocol.plan import Plan


def count_broadcasts(
    ledger: Ledger,
    plan: Plan,
    roster: Roster,
    exchange: Exchange,
    clients: NDArray[np.int64],
    packets: Packets,
    train: NDArray[np.bool_],
) -> None:
    """Count the packets of K clients, with their ideal bits where the codec of broadcasts declares them.

    Args:
        roster: clients of one entry have equal plans.
        train: mask of those that train, the others measure, [K].
    """
    bits = None
    if plan.down_codec.traits.ideal_bits:
        bits, sets = np.zeros(len(clients), np.int64), roster.task_set(clients)
        for index in np.unique(sets).tolist():
            some = np.flatnonzero(sets == index)
            link = plan.at(exchange.version).downlink(int(clients[some[0]]), roster.task_sets[index])
            bits[some] = broadcast_bits(packets.select(some), link, plan.down_codec.traits.delta_only)
    lengths, own = packets.lengths, (None, None) if bits is None else (bits[~train], bits[train])
    ledger.record_many(exchange.version, clients[~train], "down", "evaluate", lengths[~train], own[0])
    ledger.record_many(exchange.number, clients[train], "down", "train", lengths[train], own[1])
