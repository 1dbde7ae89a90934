"""Requests and replies <-> Flower messages: one array of raw bytes, and the slice of each client.

Packets are concatenated in one uint8 array, because Flower's transport has a cost for every array. If the receiver is
on the same machine, equal packets may be stored once (``share``). The ledger counts them for every client either way,
and over a network each client's packet is really sent.

This file writes all messages and reads those of the server; ``received`` reads the replies of nodes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from numpy.typing import NDArray

from fedmtl.core.text import escaped
from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.roster import Roster
from fedmtl.protocol.best_round import NO_ROUND
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.packets import Packets
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.rejections import Refused
from fedmtl.protocol.requests import Replies, Requests, Total
from fedmtl.runtime.flower.records import (
    PACKETS,
    REPLIES,
    REQUESTS,
    ROSTER,
    STYPE,
    TOTALS,
    column,
    lie_within,
    packet_array,
    record,
    same_length,
    value,
)
from fedmtl.tables.schemas import PARTS


class OtherExperiment(ValueError):
    """A server's request for an experiment that is not the node's own."""


class NotPrepared(ValueError):
    """A request for inputs that are made by what clients agree on, which the node has not received."""


def byte_array(data: NDArray[np.uint8]) -> Array:
    """Return an Array of a buffer, without a copy; Flower's constructor accepts only bytes."""
    array = Array("uint8", (data.size,), STYPE, b"")
    set_bytes(array, data)
    return array


def set_bytes(array: Array, data: NDArray[np.uint8]) -> None:
    """Put a buffer into an Array, without a copy."""
    array.data = np.ascontiguousarray(data).data  # pyright: ignore[reportAttributeAccessIssue]


def array_record(data: NDArray[np.uint8], local: bool) -> ArrayRecord:
    arrays = ArrayRecord({})
    arrays[PACKETS] = byte_array(data) if local else Array("uint8", (data.size,), STYPE, data.tobytes())
    return arrays


def packet_bytes(message: Message) -> int:
    """Return the bytes of a message's packets; 0 without packets."""
    if not message.has_content() or PACKETS not in message.content:
        return 0
    try:
        return packet_array(message.content).size
    except Refused:  # reported, and counted, when the message is read
        return 0


def requests_content(plan: Plan, run: str, requests: Requests, share: bool, add: bool = False) -> RecordDict:
    """Return the content of a message with the requests to one node.

    Args:
        plan: of the experiment.
        run: name of this run, which separates its private state from that of other runs.
        requests: of the node's clients.
        share: let equal packets be the same bytes, for a receiver on this machine.
        add: request the sum of the uploads instead of each.
    """
    exchange, packets = requests.exchange, requests.packets if share else requests.packets.contiguous()
    more = {"memories": _bytes(requests.memories, "<i8")} if plan.up_codec.traits.receiver_memory else {}
    config = ConfigRecord(
        {
            "plan": plan.digest,
            "run": run,
            "round": exchange.number,
            "version": exchange.version,
            "add": int(add),
            "full": int(exchange.full),
            "clients": _bytes(requests.clients, "<i8"),
            "start": _bytes(packets.starts, "<i8"),
            "length": _bytes(packets.lengths, "<i8"),
            "evaluate": _bytes(requests.evaluate, "u1"),
            "train": _bytes(requests.train, "u1"),
            "raw_data": _bytes(requests.raw_data, "u1"),
            "since": _bytes(requests.since, "<i8"),
            "part": exchange.on,
            "best": exchange.keep,
            **more,
        }
    )
    return RecordDict({PACKETS: array_record(packets.data, share), REQUESTS: config})


def read_requests(plan: Plan, content: RecordDict) -> Requests:
    """Return the requests of a message.

    Raises:
        OtherExperiment: the server's plan differs from this node's.
        Refused: missing records, columns of unlike lengths, or packets outside the received bytes.
    """
    config = record(content, REQUESTS, ConfigRecord)
    if config.get("plan") != plan.digest:
        raise OtherExperiment(
            f"The server runs experiment {_hex(config.get('plan'))}, this node {plan.digest.hex()}; "
            "give both the same preset, settings and version of fedmtl, and of a table the same vocabulary and "
            "statistics."
        )
    data = packet_array(content)
    clients, start, length, since = (column(config, key, "<i8") for key in ("clients", "start", "length", "since"))
    evaluate, train, raw_data = (column(config, key, "u1").astype(bool) for key in ("evaluate", "train", "raw_data"))
    memories = column(config, "memories", "<i8") if plan.up_codec.traits.receiver_memory else np.zeros_like(since)
    same_length(clients, start, length, since, evaluate, train, raw_data, memories)
    if not lie_within(start, length, data.size):
        raise Refused("message", f"the message's packets lie outside its {data.size} bytes")
    on, keep, full = value(config, "part", str), value(config, "best", int), value(config, "full", int) == 1
    if on not in PARTS or keep < NO_ROUND:
        raise Refused("message", f"a part of {escaped(on, 40)!r} and a best round of {keep}, which no server names")
    number, version = value(config, "round", int), value(config, "version", int)
    exchange = Exchange(number, version, bool(train.any()), bool(evaluate.any()), on, full, keep)
    return Requests(exchange, clients, Packets(data, start, length), evaluate, train, raw_data, since, memories)


def replies_content(round: int, replies: Replies, seconds: Mapping[str, float], local: bool = False) -> RecordDict:
    """Return the content of a node's reply: updates, then reports; ``seconds`` are the node's, by phase."""
    updates = replies.updates if replies.totals else replies.updates.contiguous()
    reports = replies.reports.contiguous()
    parts = [packets.data for packets in (updates, reports) if packets.data.size]
    data = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.zeros(0, np.uint8)])
    config = ConfigRecord(
        {
            "round": round,
            "clients": _bytes(replies.clients, "<i8"),
            "update": _bytes(updates.lengths, "<i8"),
            "report": _bytes(reports.lengths, "<i8"),
            "seconds": _bytes(replies.seconds, "<f8"),
            "troubled": list(replies.problems),
            "problems": list(replies.problems.values()),
            "phases": list(seconds),
            "phase_seconds": list(seconds.values()),
        }
    )
    content = RecordDict({PACKETS: array_record(data, local), REPLIES: config})
    if replies.totals:
        content[TOTALS] = _totals(replies.totals)
    return content


def _totals(totals: Sequence[Total]) -> ConfigRecord:
    return ConfigRecord(
        {
            "tasks": [",".join(total.owned) for total in totals],
            "clients": [_bytes(total.clients, "<i8") for total in totals],
            "vectors": [_bytes(total.vector, "<f8") for total in totals],
            "num_examples": [_bytes(total.num_examples, "<f8") for total in totals],
            "train_loss": [_bytes(total.train_loss, "<f4") for total in totals],
            "metrics": [_bytes(total.metrics, "<f4") for total in totals],
            "ideal_bits": [_bytes(total.ideal_bits, "<i8") for total in totals],
        }
    )


def wants_sums(content: RecordDict) -> bool:
    """Return True if a message requests the sum of the uploads."""
    return value(record(content, REQUESTS, ConfigRecord), "add", int) == 1


def run_of(content: RecordDict, name: str = REQUESTS) -> str:
    """Return the name of a message's run, which is safe as a folder's name.

    Args:
        content: of the message.
        name: of the record that has it.

    Raises:
        ValueError: anything else, which must not become part of a path.
    """
    run = record(content, name, ConfigRecord).get("run")
    if not isinstance(run, str) or not (run.isascii() and run.isalnum() and len(run) <= 64):
        raise ValueError(f"A run is named by at most 64 letters and digits, got {escaped(run)!r}.")
    return run


def roster_content(roster: Mapping[ClientId, TaskSet]) -> RecordDict:
    """Return the clients of a node and their tasks: each set of tasks once, and the index of each client's set."""
    roster = Roster(roster)
    config = ConfigRecord(
        {
            "clients": _bytes(roster.clients, "<i8"),
            "owns": _bytes(roster.owns, "<i8"),
            "tasks": [",".join(owned) for owned in roster.task_sets],
        }
    )
    return RecordDict({ROSTER: config})


def _bytes(values: NDArray[Any], dtype: str) -> bytes:
    return values.astype(dtype).tobytes()


def _hex(found: object) -> str:
    return found[:8].hex() if isinstance(found, bytes) else escaped(found)
