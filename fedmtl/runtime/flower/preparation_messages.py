"""Messages of a preparation: a query for summaries, one with what was agreed, and the replies to both.

Both queries name clients, run and rule; the second has a packet for each client, as broadcasts have. A reply names
clients, and has their summaries' packets if it is one to the first.
"""

from typing import NamedTuple

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from fedmtl.protocol.packets import Packets
from fedmtl.protocol.preparation import read_agreed
from fedmtl.protocol.rejections import Refused
from fedmtl.runtime.flower.messages import OtherExperiment, array_record
from fedmtl.runtime.flower.records import (
    PACKETS,
    PREPARATION,
    added,
    column,
    lie_within,
    only,
    packet_array,
    record,
    same_length,
    value,
)


class Query(NamedTuple):
    """A query of a preparation, as a node reads it."""

    clients: NDArray[np.int64]
    packet: bytes | None
    """With what was agreed; None where summaries are asked for."""


def query_content(
    run: str, digest: bytes, clients: NDArray[np.int64], packet: bytes | None = None, share: bool = False
) -> RecordDict:
    """Return the content of a query to one node.

    Args:
        run: name of the run.
        digest: of the rule.
        clients: of the node.
        packet: with what was agreed, which all of them receive; None to ask for summaries.
        share: put it in once, for a receiver on this machine.
    """
    config = ConfigRecord({"run": run, "rule": digest, "clients": clients.astype("<i8").tobytes()})
    content = RecordDict({PREPARATION: config})
    if packet is not None:
        length, copies = len(packet), 1 if share else len(clients)
        starts = np.zeros(len(clients), np.int64) if share else np.arange(len(clients)) * length
        config["start"] = starts.astype("<i8").tobytes()
        config["length"] = np.full(len(clients), length, "<i8").tobytes()
        content[PACKETS] = array_record(np.frombuffer(packet * copies, np.uint8), False)
    return content


def read_query(content: RecordDict, digest: bytes) -> Query:
    """Read a query.

    Args:
        content: of the message.
        digest: of the node's own rule.

    Raises:
        OtherExperiment: the server's columns or choices differ from this node's.
        Refused: what no server sends.
    """
    only(content, PREPARATION, PACKETS)
    config = record(content, PREPARATION, ConfigRecord)
    if value(config, "rule", bytes) != digest:
        raise OtherExperiment(
            "The server prepares other columns, or by other choices, than this node; give both the same preset and "
            "settings, and columns of the same names and kinds."
        )
    clients = column(config, "clients", "<i8")
    if PACKETS not in content:
        return Query(clients, None)
    start, length = (column(config, key, "<i8") for key in ("start", "length"))
    same_length(clients, start, length)
    data = packet_array(content)
    if not len(clients) or not lie_within(start, length, data.size):
        raise Refused("message", f"the packets of {len(clients)} clients lie outside the message's {data.size} bytes")
    packets = Packets(data, start, length)
    read_agreed(packets[0], digest)
    if any(packet != packets[0] for packet in packets):
        raise Refused("message", "clients are sent unlike agreements")
    return Query(clients, packets[0])


def reply_content(clients: NDArray[np.int64], packets: Packets | None = None) -> RecordDict:
    """Return the content of a node's reply, with packets if summaries were asked for."""
    config = ConfigRecord({"clients": clients.astype("<i8").tobytes()})
    content = RecordDict({PREPARATION: config})
    if packets is not None:
        config["length"] = packets.lengths.astype("<i8").tobytes()
        content[PACKETS] = array_record(packets.contiguous().data, False)
    return content


def read_reply(content: RecordDict, asked: NDArray[np.int64]) -> Packets:
    """Read a node's reply with summaries, of the clients that were asked, in their order.

    Raises:
        Refused: anything that ``reply_content`` cannot have written for them.
    """
    only(content, PREPARATION, PACKETS)
    config = record(content, PREPARATION, ConfigRecord)
    clients, length = (column(config, key, "<i8", len(asked)) for key in ("clients", "length"))
    same_length(clients, length)
    if not np.array_equal(clients, asked):
        raise Refused("owner", f"summaries of {len(asked)} clients were asked for, in their order, got others")
    data = packet_array(content)
    if (total := added(length, data.size)) != data.size:
        raise Refused("message", f"the reply announces {total} bytes of summaries, got {data.size}")
    return Packets(data, np.cumsum(length) - length, length)
