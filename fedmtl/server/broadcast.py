"""The server's packets of a round: a payload that many clients get is made, and packed, once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from xxhash import xxh3_128_digest

from fedmtl.core.random import rng
from fedmtl.core.types import Payload
from fedmtl.data.roster import Roster
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.pack import pack_payload
from fedmtl.protocol.packets import DOWN, Packets, concat
from fedmtl.protocol.plan import Plan


def broadcasts(plan: Plan, state: Any, roster: Roster, exchange: Exchange, clients: NDArray[np.int64]) -> Packets:
    """Make a packet of an exchange for each of K clients.

    Equal payloads are one packet: the same numbers, under the same names, as far as a client owns them. Not the same
    tensors: of two clients that shared one, each has its own when the server is read back from its checkpoint, and a
    codec's randomness is a packet's.
    """
    packets: list[bytes] = []
    by_records: dict[Any, int] = {}
    by_numbers: dict[Any, int] = {}
    sums: dict[int, bytes] = {}
    alive: list[Payload] = []  # an id is an object's own while it lives
    task_sets = roster.task_set(clients)
    if plan.algorithm.traits.uniform_broadcast:  # a client of each set of tasks stands for all
        owned, first, speaker = np.unique(task_sets, return_index=True, return_inverse=True)
    else:
        owned, first, speaker = task_sets, np.arange(len(clients)), np.arange(len(clients))
    which = np.zeros(len(first), np.int64)
    ctx = plan.server_context(exchange.makes, "broadcast")
    for k, (client, index) in enumerate(zip(clients[first].tolist(), owned.tolist(), strict=True)):
        payload = plan.algorithm.broadcast(state, client, ctx)
        records = (index, *payload, *map(id, payload.values()))
        place = by_records.get(records)
        if place is None:
            alive.append(payload)
            task_set = roster.task_sets[index]
            payload = {record: plan.restrict(params, task_set) for record, params in payload.items()}
            flat = [
                (record, name, params[name]) for record, params in sorted(payload.items()) for name in sorted(params)
            ]
            numbers = tuple((record, name, _sum(tensor, sums)) for record, name, tensor in flat)
            if numbers not in by_numbers:
                by_numbers[numbers] = len(packets)
                link = plan.downlink(client, task_set)
                # A version that is sent again, to be tested, is rounded as it was when it was trained on.
                draw = rng(plan.seed, exchange.makes, client, "down")
                packet, _ = pack_payload(payload, link, link.init(), draw, kind=DOWN, round=exchange.number)
                packets.append(packet)
            place = by_records[records] = by_numbers[numbers]
        which[k] = place
    return concat(packets).select(which[speaker])


def _sum(tensor: Tensor, known: dict[int, bytes]) -> bytes:
    """Return a checksum of 16 bytes, computed once for each tensor."""
    if id(tensor) not in known:
        known[id(tensor)] = xxh3_128_digest(tensor.detach().contiguous().numpy().reshape(-1).view(np.uint8).data)
    return known[id(tensor)]
