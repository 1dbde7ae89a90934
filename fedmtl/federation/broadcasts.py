"""The server's packets of a round: what is the same for many is asked for, and packed, once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.comm.packets import DOWN, Packets, joined
from fedmtl.comm.wire import pack
from fedmtl.federation.plan import Plan
from fedmtl.federation.roster import Roster
from fedmtl.rng import rng
from fedmtl.types import ClientId, Payload, TaskSet


def broadcasts(plan: Plan, state: Any, roster: Roster, round: int, clients: NDArray[np.int64]) -> Packets:
    """A packet for each of K clients.

    Equal payloads are one packet: the same tensors, under the same names, as far as a client owns them.
    """
    packets: list[bytes] = []
    by_records: dict[Any, int] = {}
    by_tensors: dict[Any, int] = {}
    alive: list[Payload] = []  # an id is a tensor's own while it lives
    task_sets = roster.task_set(clients)
    if getattr(plan.algorithm, "one_broadcast", False):  # a client of each set of tasks stands for all
        owned, first, speaker = np.unique(task_sets, return_index=True, return_inverse=True)
    else:
        owned, first, speaker = task_sets, np.arange(len(clients)), np.arange(len(clients))
    which = np.zeros(len(first), np.int64)
    for k, (client, index) in enumerate(zip(clients[first].tolist(), owned.tolist(), strict=True)):
        payload = plan.algorithm.broadcast(state, client)
        records = (index, *payload, *map(id, payload.values()))
        place = by_records.get(records)
        if place is None:
            alive.append(payload)
            task_set = roster.task_sets[index]
            payload = {record: plan.restrict(params, task_set) for record, params in payload.items()}
            tensors = tuple((r, n, id(params[n])) for r, params in sorted(payload.items()) for n in sorted(params))
            if tensors not in by_tensors:
                by_tensors[tensors] = len(packets)
                packets.append(_pack(plan, round, client, task_set, payload))
            place = by_records[records] = by_tensors[tensors]
        which[k] = place
    return joined(packets).select(which[speaker])


def _pack(plan: Plan, round: int, client: ClientId, owned: TaskSet, payload: Payload) -> bytes:
    spec, codec = plan.down_spec(client, owned), plan.down_codec
    chance = rng(plan.seed, round, client, "down")
    state = codec.init(spec.size) if spec else None
    return pack(payload, spec, codec, state, chance, kind=DOWN, round=round)[0]
