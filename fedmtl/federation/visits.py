"""What passes between the server and one client in a round."""

from typing import NamedTuple

from fedmtl.types import ClientId


class Visit(NamedTuple):
    """The server's side: one packet, and what the client is to do with it."""

    client: ClientId
    packet: bytes
    """The broadcast; empty when the algorithm says nothing."""
    evaluate: bool
    """Measure what the client would predict with, before training."""
    train: bool
    gather: bool
    """Send the raw training data; for central algorithms, once."""


class Reply(NamedTuple):
    """The client's side."""

    client: ClientId
    report: bytes
    """Packet of metric sums; empty when nothing was measured."""
    update: bytes
    """Packet of the upload, or of the raw data."""
    seconds: float
    """Measured training time."""
    problem: str
    """Why there is no update although one was asked for; "" when there is one."""
