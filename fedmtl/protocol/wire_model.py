"""Bytes at a device's sockets, modelled from what Flower's transport carries for it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import check_float, check_int


class Carried(NamedTuple):
    """Messages as Flower carries them in one direction: its objects, and the records that announce them."""

    messages: int
    objects: int
    """Parts that a message is sent in, each by a request of its own; a large array is several."""
    app_bytes: int
    """Bytes of the objects and of the records that announce them."""

    def __add__(self, other: "Carried") -> "Carried":  # pyright: ignore[reportIncompatibleMethodOverride]
        return Carried(*(a + b for a, b in zip(self, other, strict=True)))


NOTHING_CARRIED = Carried(0, 0, 0)

OBJECTS = 6
"""Objects of a message, and of a reply, of one client: message, its records of packets and of columns, the array and
its bytes."""

DOWN_RECORDS, UP_RECORDS = 1_607, 1_582
"""Application bytes of a message, and of a reply, of one client, beside its packets."""


class WireBytes(NamedTuple):
    """Bytes in both directions, seen from the server: down to devices, up from them."""

    down: int
    up: int

    def __add__(self, other: "WireBytes") -> "WireBytes":  # pyright: ignore[reportIncompatibleMethodOverride]
        return WireBytes(self.down + other.down, self.up + other.up)


@dataclass(frozen=True)
class FlowerWire:
    """Flower's protobuf over HTTP/1.1, as SuperNodes speak it with a SuperLink.

    Measured at the sockets with flwr 1.42 (1.41's requests are the same), ``simulations/benchmarks/wire.py``; every
    request of a node is signed. With n objects of b application bytes, of M messages:

        down   b + a (2 M + n)   against   q (2 M + n) + i n                                    (1)
        up     b + q (M + n) + j n   against   a (M + n) + l n + s M                            (2)

    A node asks for a message, for each of its objects and confirms it, (1); it announces a reply, of which the server
    names the objects that it lacks, and sends each, (2). TLS 1.3 adds 22 bytes to a record of at most 16 KiB,
    TCP and IP 52 to a segment of at most 1,448; their acknowledgements are not in it.
    """

    request: int = 842
    """q: head of a request, with the node's signature."""
    response: int = 130
    """a: head of a response."""
    named: int = 86
    """i: of a request that names an object."""
    sent: int = 156
    """j: of a request that brings an object, beside the object."""
    listed: int = 68
    """l: of an object's name among those that the server lacks."""
    session: int = 102
    """s: of the rest of the server's word on a reply."""
    poll_seconds: float = 3.0
    """An idle node asks for messages so often."""
    heartbeat_seconds: float = 24.0
    """A node says that it is there, so often in the mean."""
    tls: bool = False
    tcp: bool = False
    """Count heads of TCP and IP."""

    def __post_init__(self) -> None:
        for name in ("request", "response", "named", "sent", "listed", "session"):
            check_int(name, getattr(self, name), 0)
        for name in ("poll_seconds", "heartbeat_seconds"):
            check_float(name, getattr(self, name))
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is positive, got {getattr(self, name)}.")

    def down(self, carried: Carried) -> WireBytes:
        """Return the bytes of messages to devices, (1)."""
        requests = 2 * carried.messages + carried.objects
        return self.framed(
            carried.app_bytes + self.response * requests, self.request * requests + self.named * carried.objects
        )

    def up(self, carried: Carried) -> WireBytes:
        """Return the bytes of messages from devices, (2)."""
        requests = carried.messages + carried.objects
        return self.framed(
            self.response * requests + self._wanted(carried),
            carried.app_bytes + self.request * requests + self.sent * carried.objects,
        )

    def of_devices(
        self, packets: NDArray[np.int64], sends: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the application bytes, and those on the wire, of devices that host one client each, [2, K].

        Args:
            packets: bytes of packets down, and up, [2, K].
            sends: True where there is such a message, [2, K].
        """
        apps: Any = np.where(sends, packets + np.array([[DOWN_RECORDS], [UP_RECORDS]]), 0)
        asked, replied = self.down(Carried(1, OBJECTS, apps[0])), self.up(Carried(1, OBJECTS, apps[1]))
        parts = [np.where(sends[0], asked[way], 0) + np.where(sends[1], replied[way], 0) for way in range(2)]
        return apps, np.stack(parts)

    def idle(self, seconds: float, nodes: int, messages: int = 0) -> WireBytes:
        """Return the bytes of nodes that wait: they ask in vain for messages, and send heartbeats.

        Args:
            seconds: in which the nodes are connected.
            nodes: that are.
            messages: that they got; each was asked for at one of the regular times.
        """
        in_vain = max(0, round(nodes * seconds / self.poll_seconds) - messages)
        requests = in_vain + round(nodes * seconds / self.heartbeat_seconds)
        return self.framed(self.response * requests, self.request * requests)

    def begin(self, nodes: int, app: int) -> WireBytes:
        """Return the bytes of nodes that begin a run: its description, and the app, of ``app`` bytes."""
        return self.framed((app + 2 * self.response + 420) * nodes, (2 * self.request + 96) * nodes)

    def counter(self, down: Carried, up: Carried) -> WireBytes:
        """Return what Flower's own counter of a run should say (``flwr list``): no heads of HTTP.

        It counts objects, the records of messages, what asks for a message that is there, and the names of the objects
        that the server lacks of a reply.
        """
        return WireBytes(down.app_bytes + self._wanted(up), up.app_bytes + 13 * down.messages)

    def _wanted(self, replies: Carried) -> int:
        """Return the bytes in which the server says which objects of replies it lacks: all of them."""
        return self.listed * replies.objects + self.session * replies.messages

    def framed(self, down: int, up: int) -> WireBytes:
        """Return bytes of HTTP with those of the layers below that are to be counted."""
        return WireBytes(self._framed(down), self._framed(up))

    def _framed(self, count: int) -> int:
        if self.tls:
            count += 22 * -(-count // 16_384)
        if self.tcp:
            count += 52 * -(-count // 1_448)
        return count
