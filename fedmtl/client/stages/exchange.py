"""One exchange of a node with the server: requests in, packets out."""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateStore
from fedmtl.core.types import ClientId
from fedmtl.engines.base import Engine
from fedmtl.protocol.packets import Packets
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import PHASES, Requests, Total

PacketRows = tuple[NDArray[np.int64], Packets]
"""Rows among the requests, and the packet of each."""


@dataclass
class LoadedExchange:
    """The inputs of all stages of one exchange, and what they collect."""

    plan: Plan
    engine: Engine
    store: StateStore
    requests: Requests
    add: bool
    """Reply with the sum of the uploads instead of each."""
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    """Phase -> seconds."""
    training_seconds: NDArray[np.float64] = field(init=False)
    """Training time of each client, [V]."""
    problems: dict[ClientId, str] = field(default_factory=dict)
    """Reasons of the clients that were to send an update and send none."""
    totals: list[Total] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.training_seconds = np.zeros(len(self.requests))

    @property
    def round(self) -> int:
        """Number of the exchange, by which randomness and packets go."""
        return self.requests.exchange.number

    def spend(self, phase: str, start: float) -> float:
        """Count the time since ``start`` for a phase, and return it."""
        elapsed = time.perf_counter() - start
        self.seconds[phase] += elapsed
        return elapsed


def in_order(count: int, parts: list[PacketRows]) -> Packets:
    """Arrange one packet for each of the requests, empty where no part has one."""
    if len(parts) == 1 and len(parts[0][0]) == count and (parts[0][0] == np.arange(count)).all():
        return parts[0][1]
    starts, lengths = np.zeros(count, np.int64), np.zeros(count, np.int64)
    offset = 0
    for rows, packets in parts:
        starts[rows], lengths[rows] = packets.starts + offset, packets.lengths
        offset += packets.data.size
    data = np.concatenate([packets.data for _, packets in parts]) if parts else np.zeros(0, np.uint8)
    return Packets(data, starts, lengths)
