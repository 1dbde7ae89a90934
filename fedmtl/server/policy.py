"""Round policies: which clients a round asks, when it closes, and which replies are late."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.protocol.exchange import Exchange


class Arrivals(NamedTuple):
    """Replies of clients that were to train."""

    clients: NDArray[np.int64]
    """Ascending, [A]."""
    seconds: NDArray[np.float64]
    """Time from request to reply as far as nodes report it, that of training, [A]."""


class RoundPolicy(Protocol):
    """Decides on the clients and the end of a round; a frozen dataclass, so that equal runs decide alike.

    ``Synchronous`` waits for all. Over-selection asks more clients than a round needs, and closes it with the first
    replies; a deadline closes it by the clock. Bytes of late replies are counted, their updates are not aggregated, and
    their nodes have stored the private states of the version that they trained for.
    """

    @property
    def needs_all(self) -> bool:
        """True where no reply is late, so that nodes may send the sum of their clients' uploads."""
        ...

    def ask(self, exchange: Exchange, present: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the clients that are to train, ascending.

        Args:
            exchange: that begins.
            present: clients that some node hosts, ascending.
        """
        ...

    def wait_seconds(self, exchange: Exchange) -> float | None:
        """Return the seconds after which replies are not waited for; None for no limit."""
        ...

    def close(self, exchange: Exchange, arrivals: Arrivals) -> NDArray[np.bool_]:
        """Return a mask of the replies that are in time, [A]; the other ones are late."""
        ...
