"""Broadcasts that are changes of a reference, which each client keeps with its private state."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.client.stages.exchange import LoadedExchange
from fedmtl.core.types import Payload
from fedmtl.protocol.header import read_packet
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import DOWN, PacketError, Packets
from fedmtl.protocol.permissions import REFERENCE_LOST
from fedmtl.protocol.reference import Lacking, Reference, read_body


class Received(NamedTuple):
    """The broadcasts of the clients that hold what is changed; the others are problems of the exchange."""

    rows: NDArray[np.int64]
    """Their rows among the K, [P], ascending."""
    downs: Sequence[Payload]
    broadcast_index: NDArray[np.int64]
    """[P] index into ``downs`` of each client's broadcast."""
    references: Sequence[Reference]
    """The reference of each of ``downs``."""


def receive(exchange: LoadedExchange, link: Link, clients: NDArray[np.int64], packets: Packets, held: Any) -> Received:
    """Receive the broadcasts of K clients; equal changes of equal references are made once.

    Args:
        exchange: gets a problem for each client that lacks its reference.
        link: of the broadcasts.
        clients, packets: [K].
        held: the part of their states, see ``no_reference``, arrays [K, …].

    Raises:
        PacketError: a packet that is damaged or of another experiment.
    """
    made: dict[tuple[bytes, int], int | None] = {}
    references, rows, index = list[Reference](), list[int](), list[int]()
    for k, client in enumerate(clients.tolist()):
        key = packets[k], int(held["version"][k])
        if key not in made:
            _, body = read_packet(key[0], DOWN, link.digest, exchange.round)
            try:
                found = _read(link, bytes(body), Reference(key[1], held["numbers"][k]), exchange)
            except Lacking:
                made[key] = None
            else:
                made[key] = len(references)
                references.append(found)
        place = made[key]
        if place is None:
            exchange.problems[client] = REFERENCE_LOST
        else:
            rows.append(k)
            index.append(place)
    downs = [link.arrays(torch.from_numpy(found.numbers)) for found in references]
    return Received(np.array(rows, np.int64), downs, np.array(index, np.int64), references)


def _read(link: Link, body: bytes, held: Reference, exchange: LoadedExchange) -> Reference:
    try:
        found = read_body(link, body, held, exchange.requests.exchange.version)
    except Lacking:
        raise
    except ValueError as error:
        raise PacketError(f"The broadcast packet's body cannot be decoded: {error}") from None
    bad = int((~np.isfinite(found.numbers)).sum())
    if bad:
        raise PacketError(f"The broadcast holds {bad} numbers that are not finite.", "values")
    return found


def stored(references: Sequence[Reference], index: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return the part of the states of K clients in which their references are kept, arrays [K, …]."""
    versions = np.array([found.version for found in references], np.int64)
    return {"version": versions[index], "numbers": np.stack([found.numbers for found in references])[index]}
