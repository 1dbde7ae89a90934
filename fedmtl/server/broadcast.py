"""The server's packets of a round: a payload that many clients get is made, and packed, once, and all in one pass."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from xxhash import xxh3_128_digest

from fedmtl.core.random import rng
from fedmtl.core.trees import tree_stack
from fedmtl.core.types import ClientId, Payload
from fedmtl.data.roster import Roster
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.packets import DOWN, Packets, concat
from fedmtl.protocol.packing import pack_payloads, raise_error
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.spec import check_payload

STACK = 64
"""Most payloads that are packed in one pass: more would only take memory."""


def broadcasts(plan: Plan, state: Any, roster: Roster, exchange: Exchange, clients: NDArray[np.int64]) -> Packets:
    """Make a packet of an exchange for each of K clients.

    Equal payloads are one packet: the same numbers, under the same names, as far as a client owns them. Not the same
    tensors: of two clients that shared one, each has its own when the server is read back from its checkpoint, and a
    codec's randomness is a packet's.
    """
    distinct: dict[Any, int] = {}
    rows: dict[int, list[tuple[int, ClientId, Payload]]] = {}
    by_records: dict[Any, int] = {}
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
            foreign = plan.foreign(roster.task_sets[index])
            payload = {
                record: {name: value for name, value in params.items() if not name.startswith(foreign)}
                for record, params in payload.items()
            }
            flat = [
                (record, name, params[name]) for record, params in sorted(payload.items()) for name in sorted(params)
            ]
            numbers = tuple((record, name, _sum(tensor, sums)) for record, name, tensor in flat)
            if numbers not in distinct:
                rows.setdefault(index, []).append((len(distinct), client, payload))
                distinct[numbers] = len(distinct)
            place = by_records[records] = distinct[numbers]
        which[k] = place
    packets = [b""] * len(distinct)
    stacks = [(index, found[k : k + STACK]) for index, found in rows.items() for k in range(0, len(found), STACK)]
    for index, some in stacks:
        places, speakers, payloads = zip(*some, strict=True)
        link = plan.downlink(speakers[0], roster.task_sets[index])
        for payload in payloads:
            check_payload(payload, link.spec, DOWN)
        packed = pack_payloads(
            tree_stack(payloads),
            link,
            tree_stack([link.init()] * len(some)),
            # A version that is sent again, to be tested, is rounded as it was when it was trained on.
            lambda k, speakers=speakers: rng(plan.seed, exchange.makes, speakers[k], "down"),
            kind=DOWN,
            round=exchange.number,
            num_examples=np.zeros(len(some)),
            on_error=raise_error,
        )
        for k, place in enumerate(places):
            packets[place] = packed.packets[k]
    return concat(packets).select(which[speaker])


def _sum(tensor: Tensor, known: dict[int, bytes]) -> bytes:
    """Return a checksum of 16 bytes, computed once for each tensor."""
    if id(tensor) not in known:
        known[id(tensor)] = xxh3_128_digest(tensor.detach().contiguous().numpy().reshape(-1).view(np.uint8).data)
    return known[id(tensor)]
