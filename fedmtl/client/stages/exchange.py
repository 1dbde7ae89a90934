"""One exchange of a node with the server: requests in, packets out."""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateStore
from fedmtl.core.types import ClientId
from fedmtl.engines.base import Engine
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import PHASES, Requests, Total


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
