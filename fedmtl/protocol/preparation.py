"""Packets of a preparation: what clients send before the first round, and receive, to agree on statistics and words."""

from collections.abc import Iterable

from fedmtl.core.types import ClientId
from fedmtl.data.prepared import Prepared
from fedmtl.protocol.header import make_packet, read_packet
from fedmtl.protocol.packets import AGREED, SUMMARY, Packets, concat

ROUND = 0
"""The round of these packets: before the first."""


def summary_packets(prepared: Prepared, clients: Iterable[ClientId]) -> Packets:
    """Return the packets of clients with their summaries."""
    return concat([make_packet(SUMMARY, prepared.digest, ROUND, 0.0, prepared.sent[client]) for client in clients])


def read_summary(packet: bytes, digest: bytes) -> bytes:
    """Read a client's summary, which its rule has still to check.

    Raises:
        PacketError: as ``read_packet``.
    """
    return bytes(read_packet(packet, SUMMARY, digest, ROUND)[1])


def agreed_packet(digest: bytes, agreed: bytes) -> bytes:
    """Return the packet that all clients receive."""
    return make_packet(AGREED, digest, ROUND, 0.0, agreed)


def read_agreed(packet: bytes, digest: bytes) -> bytes:
    """Read what was agreed.

    Raises:
        PacketError: as ``read_packet``.
    """
    return bytes(read_packet(packet, AGREED, digest, ROUND)[1])
